"""The training command: `python -m train.run --model dcgan`.

The model's recipe gives every flag its default; a run folder holds all that comes of it, and
running the same command again goes on from there. Arguments are checked before jax is imported.
"""

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import tyro

from train.commands import parse_flags, run_command, use_compilation_cache
from train.config import Recipe, read_recipe, read_recipe_json
from train.data.datasets import DATASETS, find_dataset
from train.data.preprocess import PREPROCESSING, parse_preprocessing
from train.data.transforms import TRANSFORMS, parse_transforms
from train.recipes import RECIPES, find_recipe

PROG = "python -m train.run"
# What may differ between two invocations of one run: how long it is, and when it tells of itself.
ADJUSTABLE = {
    "epochs", "steps", "steps_per_call", "checkpoint_every", "sample_every", "evaluate_every", "log_every",
    "workers",
}  # fmt: skip
POSITIVE = (ADJUSTABLE - {"workers"}) | {"batch_size", "take", "image_size", "critic_steps"}


@dataclass(frozen=True)
class Command:
    """Train a model in JAX. Running the same command again resumes."""

    recipe: Annotated[Recipe, tyro.conf.arg(name="")]
    workdir: Path | None = None
    """Run folder; runs/<model> where not given."""
    data_dir: Path = Path("data")
    """Where data sets are kept."""
    resume: bool = True
    """Go on from the run folder's last checkpoint; --no-resume keeps the old run aside."""


def main(args: list[str]) -> None:
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    first.add_argument("--model")
    first.add_argument("--dataset")
    first.add_argument("--list", action="store_true")
    try:
        chosen, _ = first.parse_known_args(args)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None
    if chosen.list:
        print(listing())
        return
    if chosen.model is None:
        if {"--help", "-h"} & set(args):
            print(f"{__doc__}\nFlags of a model: {PROG} --model NAME --help\nAll names: {PROG} --list")
            return
        raise ValueError(f"--model is needed: {', '.join(RECIPES)}")
    recipe = find_recipe(chosen.model)
    if chosen.dataset is not None:
        find_dataset(chosen.dataset)
        recipe = recipe.on(chosen.dataset)
    command = parse_flags(Command, args, prog=PROG, default=Command(recipe))
    given, recipe = recipe, command.recipe
    if recipe.epochs != given.epochs and recipe.steps == given.steps:
        recipe = replace(recipe, steps=None)  # --epochs counts, where the recipe itself counts steps
    workdir = command.workdir or Path("runs") / recipe.model
    check(recipe)
    if command.resume:
        recipe = with_options_of(workdir, recipe)
    kept = prepare_workdir(recipe, workdir, command.resume)
    if kept:
        print(f"the run that was there is kept as {kept}")

    use_compilation_cache()
    from train.loop import train

    train(recipe, workdir, command.data_dir)


def check(recipe: Recipe) -> None:
    """ValueError for a field that no run can have."""
    for name in POSITIVE:
        value = getattr(recipe, name, None)
        if value is not None and value < 1:
            raise ValueError(f"--{name.replace('_', '-')} must be at least 1, got {value}")
    if recipe.batch_size is not None and recipe.batch_size < recipe.shares:
        raise ValueError(
            f"--batch-size {recipe.batch_size} leaves nothing for some of --critic-steps {recipe.shares}"
        )
    instance_noise = getattr(recipe, "instance_noise", None)
    if instance_noise is not None and not instance_noise >= 0:
        raise ValueError(f"--instance-noise must not be negative, got {instance_noise}")
    ema = getattr(recipe, "ema", None)
    if ema is not None and not 0 <= ema < 1:
        raise ValueError(f"--ema must be at least 0 and less than 1, got {ema}")
    for name in ("transforms", "test_transforms"):
        parse_transforms(getattr(recipe, name, ()))
    parse_preprocessing(recipe.preprocess)


def with_options_of(workdir: Path, recipe: Recipe) -> Recipe:
    """The recipe with the model options of the run that is in the folder, where it gives none itself."""
    if not (workdir / "recipe.json").is_file():
        return recipe
    options = read_recipe_json(workdir).get("options", {})
    return replace(recipe, options={**options, **recipe.options})


def prepare_workdir(recipe: Recipe, workdir: Path, resume: bool) -> Path | None:
    """Checks that the folder is free, or holds this very run; otherwise raises ValueError.

    Without `resume` a run that is there is renamed; returns its new path.
    """
    if not workdir.exists() or (workdir.is_dir() and not any(workdir.iterdir())):
        return None
    if not workdir.is_dir():
        raise ValueError(f"{workdir} is not a folder: choose another --workdir")
    model = read_recipe_json(workdir)["model"]
    if model != recipe.model:
        raise ValueError(f"{workdir} holds a run of {model}, not of {recipe.model}: choose another --workdir")
    if not resume:
        number = next(n for n in range(1, 10_000) if not workdir.with_name(f"{workdir.name}-{n}").exists())
        return workdir.rename(workdir.with_name(f"{workdir.name}-{number}"))
    if has_trained(workdir):
        old, new = (json.loads(json.dumps(r.to_json())) for r in (read_recipe(workdir), recipe))
        differing = [
            f"{name} {old[name]!r} (now {new[name]!r})"
            for name in old
            if name not in ADJUSTABLE and old[name] != new[name]
        ]
        if differing:
            raise ValueError(
                f"the run in {workdir} has {', '.join(differing)}: give the same flags to resume, "
                "another --workdir, or --no-resume"
            )
    return None


def has_trained(workdir: Path) -> bool:
    """Whether the folder has a checkpoint past step 0, the step of weights brought from elsewhere."""
    names = [path.name for path in (workdir / "checkpoints").glob("*")]
    return any(name.isdigit() and int(name) > 0 for name in names)


def listing() -> str:
    """Models, tasks and data sets, a line each."""
    lines = ["models"]
    lines += [f"  {name:<20} {r.task:<12} on {r.dataset:<18} {r.expect}" for name, r in RECIPES.items()]
    lines += ["tasks", *(f"  {task}" for task in sorted({r.task for r in RECIPES.values()}))]
    lines += ["data sets", *(f"  {name:<20} {d.about}" for name, d in DATASETS.items())]
    lines += ["transforms", *(f"  {kind.syntax:<46} {kind.about}" for kind in TRANSFORMS.values())]
    lines += ["preprocessing", *(f"  {kind.syntax:<20} {kind.about}" for kind in PREPROCESSING.values())]
    return "\n".join(lines)


if __name__ == "__main__":
    run_command(PROG, main)
