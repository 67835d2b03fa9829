"""Runs side by side in one picture: `python -m train.compare runs/dcgan64 runs/wide`.

Of each run the losses, and the last sheet of what it drew; the title says how its recipe differs from the
first one's.
"""

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from train.commands import parse_flags, run_command
from train.config import Recipe, read_recipe
from train.report import read_metrics

PROG = "python -m train.compare"


@dataclass(frozen=True)
class Flags:
    """Show the losses and the last pictures of runs side by side."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders of train.run."""
    write: Path | None = None
    """The PNG to write; comparison.png in the first run's folder where not given."""


def compare(workdirs: tuple[Path, ...], path: Path) -> None:
    """Writes the picture. ValueError for less than two run folders, and for one without metrics."""
    from train.plots import save_comparison

    if len(workdirs) < 2:
        raise ValueError(f"a comparison takes two run folders or more, got {len(workdirs)}")
    recipes, shown = [read_recipe(workdir) for workdir in workdirs], []
    for workdir, recipe in zip(workdirs, recipes, strict=True):
        records = read_metrics(workdir)
        if not records:
            raise ValueError(f"{workdir} has no metrics yet: python -m train.run --model {recipe.model}")
        title = f"{recipe.model} on {recipe.dataset}\n{textwrap.fill(difference(recipe, recipes), 80)}"
        shown.append((title, records, _last_sheet(workdir)))
    save_comparison(shown, path)


def difference(recipe: Recipe, recipes: list[Recipe]) -> str:
    """The fields, and options of the model, in which not all of the recipes are alike."""
    mine, *others = (_flat(one) for one in (recipe, *recipes))
    differing = [name for name in mine if any(name in o and o[name] != mine[name] for o in others)]
    return ", ".join(f"{name.replace('_', ' ')} {mine[name]}" for name in differing if name != "model")


def _flat(recipe: Recipe) -> dict[str, Any]:
    """A recipe's fields on one level, the values of an optimizer by dotted names, options by their own."""
    from train.state import model_options

    flat: dict[str, Any] = {}
    for name, value in recipe.to_json().items():
        if name == "options":
            flat |= {**model_options(recipe.model), **value}
        elif isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _last_sheet(workdir: Path) -> Path | None:
    """The newest of the pictures that a run saves first of all; None where it has none."""
    sheets = sorted((workdir / "samples").glob("*_*.png"))
    kinds = [sheet.stem.rpartition("_")[0] for sheet in sheets]
    if not sheets:
        return None
    kind = "samples" if "samples" in kinds else kinds[0]
    return [sheet for sheet, other in zip(sheets, kinds, strict=True) if other == kind][-1]


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    path = flags.write or (flags.runs[0] / "comparison.png" if flags.runs else Path())
    compare(flags.runs, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    run_command(PROG, main)
