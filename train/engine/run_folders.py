"""Run folders on disk: recipe.json and data.json, and the rules for resuming. Nothing here imports jax."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from train.recipes import RECIPES, Recipe, find_recipe, make_recipe, recipe_from_json, upgrade

# Fields that may differ between two invocations of one run: the length of the run, its intervals, and how it
# is executed.
ADJUSTABLE = {
    "epochs", "steps", "steps_per_call", "checkpoint_every", "sample_every", "evaluate_every", "log_every",
    "workers",
}  # fmt: skip


def write_text(path: Path, text: str) -> None:
    """Writes a text file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    part.write_text(text)
    part.replace(path)


def write_json(path: Path, values: Any) -> None:
    """Writes values as a JSON file atomically."""
    write_text(path, json.dumps(values, indent=2) + "\n")


def read_recipe(workdir: Path) -> Recipe:
    """The recipe of a run folder. Errors: ValueError if the folder contains no recipe that can be read."""
    values = read_recipe_json(workdir)
    try:
        return recipe_from_json(values, _base_recipe(values))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{workdir}/recipe.json cannot be read as a recipe: {error!r}") from None


def read_recipe_json(workdir: Path) -> dict[str, Any]:
    """recipe.json of a run folder, with the current names of fields. Errors: ValueError if there is none."""
    path = Path(workdir) / "recipe.json"
    if not path.is_file():
        raise ValueError(f"{workdir} is not a run folder: it has no recipe.json")
    values = _read_json(path)
    if not isinstance(values, dict) or "model" not in values:
        raise ValueError(f"{path} has no field 'model'")
    return upgrade(values)


def read_meta(workdir: Path) -> dict[str, Any]:
    """data.json of a run folder: the metadata of the data set (class names, scale, ...).

    Errors: ValueError if there is none.
    """
    path = Path(workdir) / "data.json"
    if not path.is_file():
        model = read_recipe(workdir).model
        raise ValueError(
            f"{workdir} has no data.json, which training writes: "
            f"python -m train.run --model {model} --workdir {workdir}"
        )
    return _read_json(path)


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def _base_recipe(values: Mapping[str, Any]) -> Recipe:
    """The recipe whose values are used for the fields that are not in the file."""
    model = values["model"]
    if model in RECIPES or "task" not in values or ":" not in model:
        return find_recipe(model)
    return make_recipe(model, values["task"], values["dataset"])


def with_options_of(workdir: Path, recipe: Recipe) -> Recipe:
    """The recipe, with the folder's model options added. Options that the recipe sets itself stay."""
    if not (workdir / "recipe.json").is_file():
        return recipe
    options = read_recipe_json(workdir).get("options", {})
    return replace(recipe, options={**options, **recipe.options})


def prepare_workdir(recipe: Recipe, workdir: Path, resume: bool) -> Path | None:
    """Checks that the folder is empty or contains this run. If not `resume`, it renames a run in the folder.

    Returns the new path of a renamed run, or None.
    Errors: ValueError for a folder that contains anything else, or the same model with another recipe.
    """
    if not workdir.exists() or (workdir.is_dir() and not any(workdir.iterdir())):
        return None
    if not workdir.is_dir():
        raise ValueError(f"{workdir} is not a folder: choose another --workdir")
    model = read_recipe_json(workdir)["model"]
    if model != recipe.model:
        raise ValueError(
            f"{workdir} contains a run of {model}, not of {recipe.model}: choose another --workdir"
        )
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
    elif saved_steps(workdir) and recipe.first_weights:
        runs = ", ".join(first.workdir for first in recipe.first_weights.values())
        raise ValueError(
            f"{workdir} contains imported weights, which a run continues from, so it cannot start from those "
            f"of {runs}: choose another --workdir"
        )
    return None


def saved_steps(workdir: Path) -> list[int]:
    """The steps of the folder's checkpoints; imported weights are saved at step 0."""
    names = [path.name for path in (workdir / "checkpoints").glob("*")]
    return sorted(int(name) for name in names if name.isdigit())


def has_trained(workdir: Path) -> bool:
    """Whether the folder has a checkpoint of a step after 0."""
    return any(saved_steps(workdir))
