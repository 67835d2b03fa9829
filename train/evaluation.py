"""A task's measures over a whole test split, the last partial batch counted by its examples."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from train.backend import compiler_options
from train.data.feeds import RESIDENT_LIMIT
from train.data.sources import Source, read_source
from train.state import TrainState
from train.tasks.base import Batch, Task

LARGEST = 256  # examples in a test batch at most


class Evaluation:
    """Call it with a state: {"test_loss": ..., "test_accuracy": ...}, means over the examples.

    split: {name: (N, ...)} arrays, or a Source of single examples. batch_size: the recipe's.
    """

    def __init__(self, task: Task, split: Any, batch_size: int):
        if isinstance(split, Source) and split.nbytes <= RESIDENT_LIMIT:
            split = read_source(split, len(split))
        self.split, self.batch_size = split, max(1, min(batch_size, LARGEST))

        def sums(state: TrainState, batch: Batch) -> dict[str, jax.Array]:
            return task.evaluate(state, task.prepare_test(batch))

        self._sums = jax.jit(sums, compiler_options=compiler_options())
        self._resident = jax.tree.map(jax.numpy.asarray, split) if isinstance(split, dict) else None

    def __call__(self, state: TrainState) -> dict[str, float]:
        totals: dict[str, float] = {}
        for batch in self.batches():
            for name, value in self._sums(state, batch).items():
                totals[name] = totals.get(name, 0.0) + value
        size = split_size(self.split)
        return {f"test_{name}": float(value) / size for name, value in totals.items()}

    def batches(self) -> Iterator[Batch]:
        """All examples in order; the last batch is smaller where they do not divide."""
        return split_batches(self._resident or self.split, self.batch_size)


def split_size(split: Any) -> int:
    """The number of examples of arrays or of a Source."""
    return len(next(iter(split.values()))) if isinstance(split, dict) else len(split)


def split_batches(split: Any, batch_size: int) -> Iterator[Batch]:
    """The examples of a split in order, `batch_size` at a time."""
    size = split_size(split)
    for start in range(0, size, batch_size):
        stop = min(start + batch_size, size)
        if isinstance(split, dict):
            yield {name: array[start:stop] for name, array in split.items()}
        else:
            examples = [split[i] for i in range(start, stop)]
            yield {name: np.stack([example[name] for example in examples]) for name in examples[0]}
