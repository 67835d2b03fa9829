"""Evaluation: a task's metrics over a whole split, and what a trained run is worth."""

import json
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jax

from train.data.feeds import IN_MEMORY_LIMIT
from train.data.sources import Arrays, Data, Generated, Source, read_source, split_batches, split_size
from train.engine.devices import compiler_options
from train.engine.run_folders import write_json
from train.recipes import Recipe
from train.tasks.contract import Batch, Task
from train.tasks.state import TrainState

MAX_BATCH_SIZE = 256


class TestEvaluation:
    """A function of a state: {"test_loss": ..., "test_accuracy": ...}, the means over a split's examples.

    split: {name: (N, ...)} arrays, or a Source of single examples. batch_size: the recipe's. The last,
    smaller batch counts by its examples.
    """

    __test__ = False  # pytest: not a test

    def __init__(self, task: Task, split: Arrays | Source, batch_size: int):
        if isinstance(split, Source) and split.nbytes <= IN_MEMORY_LIMIT:
            split = read_source(split, len(split))
        self.split, self.batch_size = split, max(1, min(batch_size, MAX_BATCH_SIZE))

        def sums(state: TrainState, batch: Batch) -> Batch:
            return task.evaluate(state, task.prepare_test(batch))

        self._sums = jax.jit(sums, compiler_options=compiler_options())
        self._in_memory: Any = jax.tree.map(jax.numpy.asarray, split) if isinstance(split, dict) else None

    def __call__(self, state: TrainState) -> dict[str, float]:
        totals: dict[str, Any] = {}
        for batch in self._batches():
            for name, value in self._sums(state, batch).items():
                totals[name] = totals.get(name, 0.0) + value
        size = split_size(self.split)
        return {f"test_{name}": float(value) / size for name, value in totals.items()}

    def _batches(self) -> Iterator[Any]:
        return split_batches(self._in_memory or self.split, self.batch_size)


class Metric(NamedTuple):
    """A number that an evaluation gives. real: the same number for real data, where there is one."""

    value: float
    real: float | None = None


class Report(Protocol):
    """The result of an evaluation."""

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """The numbers, by name."""
        ...

    def write(self, folder: Path) -> list[str]:
        """Writes the result into a folder; returns the names of the files."""
        ...

    def show(self) -> str:
        """The result as text."""
        ...


@dataclass(frozen=True)
class MetricsReport:
    """The means of a task's metrics over a split."""

    split: str
    values: Mapping[str, float]

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {f"{self.split} {name}": Metric(value) for name, value in self.values.items()}

    def write(self, folder: Path) -> list[str]:
        write_json(folder / "evaluation.json", {"split": self.split, **self.values})
        return ["evaluation.json"]

    def show(self) -> str:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in self.values.items())
        return f"{numbers} on the {self.split} split"


def evaluated_split(data: Data) -> tuple[str, Arrays | Source]:
    """(name, split): the test split, or the training split of a data set that has no other.

    Errors: ValueError for data that is generated, which has no split.
    """
    if data.test is not None:
        return "test", data.test
    if isinstance(data.train, Generated):
        raise ValueError("the data is generated anew in every step: there is no split to evaluate on")
    return "training", data.train


def evaluate_metrics(task: Task, state: TrainState, data: Data) -> MetricsReport:
    """The task's own metrics on the evaluated split."""
    name, split = evaluated_split(data)
    means = TestEvaluation(task, split, MAX_BATCH_SIZE)(state)
    values = {metric.removeprefix("test_"): value for metric, value in means.items()}
    return MetricsReport(name, {**values, **task.derived(values)})


def seed_table(recipes: Sequence[Recipe], metrics: Sequence[Mapping[str, Metric]]) -> str:
    """A Markdown table: for runs that differ only in their seed, each metric's mean and deviation."""
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
