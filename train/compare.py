"""Plots runs side by side: `python -m train.compare runs/dcgan64 runs/wide`.

It shows the losses of each run and its last grid of images. The title of a run says how its recipe differs
from the recipes of the others.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from train.command_line import parse_flags, run_command

PROG = "python -m train.compare"


@dataclass(frozen=True)
class Flags:
    """Show the losses and the last images of runs side by side."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders of train.run."""
    write: Path | None = None
    """The PNG to write; if it is not given, comparison.png in the first run's folder."""


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)

    from train.engine.comparison import compare_runs

    path = flags.write or (flags.runs[0] / "comparison.png" if flags.runs else Path())
    compare_runs(flags.runs, path)
    print(f"wrote {path}")


if __name__ == "__main__":
    run_command(PROG, main)
