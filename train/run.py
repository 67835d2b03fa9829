"""The training command: `python -m train.run --model dcgan`.

The recipe of the model gives every flag its default. A run folder contains everything that a run writes, and
the same command resumes it. A model of your own is given by its import path, with its task and data set:
`python -m train.run --model package.module:Class --task classify --dataset digits`.
"""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from train.command_line import parse_flags, run_command
from train.data.datasets import DATASETS, find_dataset
from train.data.preprocess import PREPROCESSING
from train.data.transforms import TRANSFORMS
from train.engine.run_folders import prepare_workdir, with_options_of
from train.recipes import RECIPE_CLASSES, RECIPES, Recipe, find_recipe, make_recipe

PROG = "python -m train.run"


@dataclass(frozen=True)
class Flags:
    """Train a model in JAX. The same command resumes a run that was stopped."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    task: str | None = None
    """What a model of your own is trained for, such as classify; a model of the catalogue has its task."""
    workdir: Path | None = None
    """Run folder; runs/<model> if not given."""
    data_dir: Path = Path("data")
    """Folder of the data sets."""
    resume: bool = True
    """Continue from the run folder's last checkpoint; --no-resume renames the old run."""


def main(args: list[str]) -> None:
    chosen = _chosen(args)
    if chosen.list:
        print(listing())
        return
    if chosen.model is None:
        if {"--help", "-h"} & set(args):
            print(f"{__doc__}\nFlags of a model: {PROG} --model NAME --help\nAll names: {PROG} --list")
            return
        raise ValueError(f"--model is needed: {', '.join(RECIPES)}")
    recipe = _recipe_of(chosen)
    flags = parse_flags(Flags, args, prog=PROG, default=Flags(recipe, task=chosen.task))
    given, recipe = recipe, flags.recipe
    if recipe.epochs != given.epochs and recipe.steps == given.steps:
        recipe = replace(recipe, steps=None)  # --epochs replaces the recipe's steps
    workdir = flags.workdir or Path("runs") / recipe.model.rpartition(":")[2]
    if flags.resume:
        recipe = with_options_of(workdir, recipe)
    kept = prepare_workdir(recipe, workdir, flags.resume)
    if kept:
        print(f"the run that was there is kept as {kept}")

    from train.backend import use_compilation_cache
    from train.engine.loop import train

    use_compilation_cache()
    train(recipe, workdir, flags.data_dir)


def _chosen(args: list[str]) -> argparse.Namespace:
    """The flags that select the recipe, on which the other flags depend."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for name in ("--model", "--dataset", "--task"):
        parser.add_argument(name)
    parser.add_argument("--list", action="store_true")
    try:
        return parser.parse_known_args(args)[0]
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None


def _recipe_of(chosen: argparse.Namespace) -> Recipe:
    """The recipe of the chosen model on the chosen data set."""
    if chosen.dataset is not None:
        find_dataset(chosen.dataset)
    if ":" not in chosen.model:
        recipe = find_recipe(chosen.model)
        if chosen.task not in (None, recipe.task):
            raise ValueError(f"{chosen.model} is trained by the task {recipe.task}, not {chosen.task}")
        return recipe if chosen.dataset is None else recipe.on(chosen.dataset)
    if chosen.task is None or chosen.dataset is None:
        tasks = ", ".join(RECIPE_CLASSES)
        raise ValueError(f"{chosen.model} is a model of your own: give --task ({tasks}) and --dataset")
    return make_recipe(chosen.model, chosen.task, chosen.dataset)


def listing() -> str:
    """The models, tasks, data sets, transforms and preprocessing steps, one per line."""
    lines = ["models"]
    lines += [f"  {name:<20} {r.task:<12} on {r.dataset:<18} {r.expect}" for name, r in RECIPES.items()]
    lines += ["tasks", *(f"  {task}" for task in sorted(RECIPE_CLASSES))]
    lines += ["data sets", *(f"  {name:<20} {d.about}" for name, d in DATASETS.items())]
    lines += ["transforms", *(f"  {kind.syntax:<46} {kind.about}" for kind in TRANSFORMS.values())]
    lines += ["preprocessing", *(f"  {kind.syntax:<20} {kind.about}" for kind in PREPROCESSING.values())]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(PROG, main)
