"""The reports on trained runs, and the table of the metrics of several runs."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from train.engine.run_folders import write_json
from train.recipes import Recipe


class Metric(NamedTuple):
    """A metric of an evaluation. real: the same metric computed on real data, or None."""

    value: float
    real: float | None = None


class Report(Protocol):
    """The result of an evaluation."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The metrics, by name."""
        ...

    def write(self, folder: Path) -> list[str]:
        """Writes the result into a folder; returns the file names."""
        ...

    def show(self) -> str:
        """The result as text."""
        ...


@dataclass(frozen=True)
class MetricsReport:
    """The means of a task's metrics over a split. reported: the same for further splits, by their names."""

    split: str
    values: Mapping[str, float]
    reported: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    @property
    def metrics(self) -> Mapping[str, Metric]:
        splits = {self.split: self.values, **self.reported}
        return {
            f"{split} {name}": Metric(value)
            for split, values in splits.items()
            for name, value in values.items()
        }

    def write(self, folder: Path) -> list[str]:
        reported = {split: dict(values) for split, values in self.reported.items()}
        values = {"split": self.split, **self.values, **({"reported": reported} if reported else {})}
        write_json(folder / "evaluation.json", values)
        return ["evaluation.json"]

    def show(self) -> str:
        lines = []
        for split, values in {f"{self.split} split": self.values, **self.reported}.items():
            numbers = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
            lines.append(f"{numbers} on the {split}")
        return "\n".join(lines)


def seed_table(recipes: Sequence[Recipe], metrics: Sequence[Mapping[str, Metric]]) -> str:
    """A Markdown table with the mean and the standard deviation of each metric.

    Runs that differ only in their seed share a row.
    """
    groups: dict[tuple[str, str], list[Metric]] = {}
    names: dict[str, str] = {}
    for recipe, found in zip(recipes, metrics, strict=True):
        kind = json.dumps({**recipe.to_json(), "seed": None}, sort_keys=True)
        options = ", ".join(f"{name} {value}" for name, value in recipe.options.items())
        names[kind] = f"{recipe.model} ({options})" if options else recipe.model
        for name, metric in found.items():
            groups.setdefault((kind, name), []).append(metric)
    lines = ["| model | metric | seeds | mean | deviation | of real data |", "|---|---|---|---|---|---|"]
    for (kind, name), group in groups.items():
        values, real = [m.value for m in group], [m.real for m in group if m.real is not None]
        deviation = f"{statistics.stdev(values):.2g}" if len(values) > 1 else ""
        of_real = f"{statistics.mean(real):.4g}" if real else ""
        mean = f"{statistics.mean(values):.4g}"
        lines.append(f"| {names[kind]} | {name} | {len(values)} | {mean} | {deviation} | {of_real} |")
    return "\n".join(lines)
