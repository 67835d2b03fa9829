"""Evaluates trained runs: `python -m train.evaluate runs/lenet5`.

A classifier is evaluated on the test split, or on the training split of a data set that has no test split:
the accuracy, the accuracy of every class, the confusion matrix, and a page of images. A generative model is
evaluated by the Fréchet distance of its samples or translations. Any other model is evaluated by the metrics
of its task. The results are written into the run folder's evaluation/. For several runs a table shows the
metrics; runs that differ only in their seed share a row.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from train.command_line import parse_flags, run_command
from train.engine.run_folders import read_recipe

PROG = "python -m train.evaluate"


@dataclass(frozen=True)
class Flags:
    """Evaluate trained runs on their test split, and generative models by their samples or translations."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders of train.run."""
    data_dir: Path = Path("data")
    """Folder of the data sets and of the classifiers for the Fréchet distance."""
    seed: int = 0
    """Seed of a generative model's latents."""


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    if not flags.runs:
        raise ValueError("a run folder is needed")
    recipes = [read_recipe(workdir) for workdir in flags.runs]

    from train.backend import use_compilation_cache
    from train.engine.evaluation.report import seed_table
    from train.engine.runs import load_run

    use_compilation_cache()
    metrics = []
    for workdir in flags.runs:
        report = load_run(workdir, data_dir=flags.data_dir).evaluate(seed=flags.seed)
        files = report.write(workdir / "evaluation")
        print(f"{report.show()}\nwrote {workdir / 'evaluation'}/: {', '.join(files)}")
        metrics.append(report.metrics)
    if len(metrics) > 1:
        print(seed_table(recipes, metrics))


if __name__ == "__main__":
    run_command(PROG, main)
