"""A task's metrics over a whole split, and the report on them."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax

from train.backend import compiler_options
from train.data.sources import (
    IN_MEMORY_LIMIT,
    Arrays,
    Data,
    Generated,
    Source,
    read_source,
    split_batches,
    split_size,
    take_rows,
)
from train.engine.evaluation.report import MetricsReport
from train.tasks.contract import Batch, Task
from train.tasks.state import TrainState

INFERENCE_BATCH_SIZE = 256
"""The most examples in one call of a model outside training."""


class SplitEvaluator:
    """A function of a state: {"test_loss": ..., "test_accuracy": ...}, the means over a split's examples.

    split: {name: (N, ...)} arrays, or a Source of single examples. batch_size: the batch size of the recipe.
    name: the name of the split, with which the names of the metrics begin.
    All examples have the same weight, also those of a smaller last batch.
    """

    def __init__(self, task: Task, split: Arrays | Source, batch_size: int, name: str = "test"):
        self.prefix = f"{name.replace(' ', '_')}_"
        if isinstance(split, Source) and split.nbytes <= IN_MEMORY_LIMIT:
            split = read_source(split, len(split))
        self.split, self.batch_size = split, max(1, min(batch_size, INFERENCE_BATCH_SIZE))

        def sums(state: TrainState, batch: Batch) -> Batch:
            return task.evaluate(state, task.prepare_test(batch))

        self._sums = jax.jit(sums, compiler_options=compiler_options())
        self._in_memory: Any = jax.tree.map(jax.numpy.asarray, split) if isinstance(split, dict) else None

    def __call__(self, state: TrainState) -> dict[str, float]:
        totals: dict[str, Any] = {}
        for batch in self._batches():
            for name, value in self._sums(state, batch).items():
                totals[name] = totals[name] + value if name in totals else value
        size = split_size(self.split)
        return {f"{self.prefix}{name}": float(value) / size for name, value in totals.items()}

    def _batches(self) -> Iterator[Any]:
        return split_batches(self._in_memory or self.split, self.batch_size)


def evaluated_split(data: Data) -> tuple[str, Arrays | Source]:
    """(name, split): the test split, or the training split of a data set that has no test split.

    Errors: ValueError for data that is generated, which has no split.
    """
    if data.test is not None:
        return "test", data.test
    if isinstance(data.train, Generated):
        raise ValueError("the data is generated in every step, so there is no split to evaluate")
    return "training", data.train


def examples_at(data: Data, positions: Sequence[int]) -> Arrays:
    """The examples at these positions of the evaluated split.

    Errors: ValueError for no positions, and for a position that the split does not have.
    """
    name, split = evaluated_split(data)
    if not positions:
        raise ValueError("at least one position is needed")
    for position in positions:
        if not 0 <= position < split_size(split):
            raise ValueError(
                f"the {name} split has the positions 0 to {split_size(split) - 1}, got {position}"
            )
    return take_rows(split, list(positions))


def evaluate_metrics(task: Task, state: TrainState, data: Data) -> MetricsReport:
    """The metrics of the task on the evaluated split, and on the splits that are only reported."""
    name, split = evaluated_split(data)
    reported = {}
    for each, examples in {name: split, **data.reported}.items():
        evaluator = SplitEvaluator(task, examples, INFERENCE_BATCH_SIZE)
        values = {metric.removeprefix(evaluator.prefix): mean for metric, mean in evaluator(state).items()}
        reported[each] = {**values, **task.derived(values)}
    return MetricsReport(name, reported.pop(name), reported)
