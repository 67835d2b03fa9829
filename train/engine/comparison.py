"""A plot of several runs side by side: the losses and the last grid of images of each run."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from train.engine.metrics import read_metrics
from train.engine.run_folders import read_recipe
from train.plotting.curves import save_comparison
from train.recipes import Recipe
from train.tasks.models import model_options


def compare_runs(workdirs: Sequence[Path], path: Path) -> None:
    """Writes the plot. The title of a run says how its recipe differs from the others.

    Errors: ValueError for fewer than two run folders, and for a run without metrics.
    """
    if len(workdirs) < 2:
        raise ValueError(f"a comparison takes two run folders or more, got {len(workdirs)}")
    recipes, shown = [read_recipe(workdir) for workdir in workdirs], []
    for workdir, recipe in zip(workdirs, recipes, strict=True):
        records = read_metrics(workdir)
        if not records:
            raise ValueError(f"{workdir} has no metrics yet: python -m train.run --model {recipe.model}")
        title = (
            f"{recipe.model} on {recipe.dataset}\n{textwrap.fill(describe_differences(recipe, recipes), 80)}"
        )
        shown.append((title, records, last_grid(workdir)))
    save_comparison(shown, path)


def describe_differences(recipe: Recipe, recipes: Sequence[Recipe]) -> str:
    """The values, as text, of the recipe fields and model options that are not equal in all recipes.

    recipe: the recipe whose values are returned.
    """
    mine, *others = (_flatten(one) for one in (recipe, *recipes))
    differing = [name for name in mine if any(name in o and o[name] != mine[name] for o in others)]
    return ", ".join(f"{name.replace('_', ' ')} {mine[name]}" for name in differing if name != "model")


def _flatten(recipe: Recipe) -> dict[str, Any]:
    """A recipe's fields on one level: an optimizer's values by dotted names, options by their own names."""
    flat: dict[str, Any] = {}
    for name, value in recipe.to_json().items():
        if name == "options":
            flat |= {**model_options(recipe.model), **value}
        elif isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def last_grid(workdir: Path) -> Path | None:
    """The newest saved grid of samples, or else of the first kind of image that the run saves.

    None for a run that has saved no images.
    """
    grids = sorted((workdir / "samples").glob("*_*.png"))
    kinds = [grid.stem.rpartition("_")[0] for grid in grids]
    if not grids:
        return None
    kind = "samples" if "samples" in kinds else kinds[0]
    return [grid for grid, other in zip(grids, kinds, strict=True) if other == kind][-1]
