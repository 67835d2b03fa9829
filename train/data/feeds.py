"""Batches as a pure function of (seed, step), so that a resumed run gets the batches of an uninterrupted one.

Data that fits into memory is kept on the device as it is (images as uint8), and a step gathers its rows
inside jit. Generated data is generated inside jit too. Larger data is streamed by Grain, one batch per step.

A feed has two methods. Outside jit, `inputs` returns the arrays that a call of several steps takes as its
argument. Inside jit, `batch` returns the batch of one step from these arrays.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

from train.data.random_keys import ORDER, epoch_order, rng_key
from train.data.sources import (
    IN_MEMORY_LIMIT,
    Arrays,
    Data,
    Generated,
    Source,
    read_source,
    split_size,
)

if TYPE_CHECKING:
    from grain import DatasetIterator

Batch = dict[str, jax.Array]

GENERATED_EPOCH = 100  # steps per epoch of generated data, which is unlimited


class Feed:
    """Batches of one split.

    batch_size: examples per step. size: the number of examples; None for generated data, which is unlimited.
    steps_per_epoch: the number of full batches; the order of the next epoch includes the remaining examples.
    refresh_every: steps after which `inputs` must be called again, None for never; a call of many steps never
    crosses a multiple of it.
    """

    batch_size: int
    size: int | None
    steps_per_epoch: int
    refresh_every: int | None = None

    def inputs(self, step: int, length: int) -> Any:
        """The device arrays (a pytree) that a call of `length` steps, the first one `step`, takes."""
        raise NotImplementedError

    def batch(self, inputs: Any, step: Any) -> Batch:
        """The batch of one step, {name: (batch_size, ...)}; a pure function that jit traces.

        step: an int or a traced integer.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Stops the threads or processes that read ahead. A later call of `inputs` starts them again."""


class InMemory(Feed):
    """All examples are on the device. Their order is new in every epoch, or always the given one.

    arrays: {name: (N, ...)}. batch_size: None takes all N in every step, in the given order. unaligned: as in
    `Data`.
    """

    def __init__(
        self, arrays: Arrays, *, batch_size: int | None, shuffle: bool, seed: int,
        unaligned: frozenset[str] = frozenset(),
    ):  # fmt: skip
        self.size, self._unaligned = split_size(arrays), unaligned
        self.batch_size = self.size if batch_size is None else batch_size
        self.steps_per_epoch = self.size // self.batch_size
        self.seed = seed
        self.whole = batch_size is None
        self.refresh_every = self.steps_per_epoch if shuffle and not self.whole else None
        self._arrays = {name: jnp.asarray(array) for name, array in arrays.items()}
        self._epoch = -1
        self._order: jax.Array | None = None

    def inputs(self, step: int, length: int) -> dict[str, Any]:
        if self.refresh_every is None:
            return {"arrays": self._arrays}
        epoch = step // self.steps_per_epoch
        assert (step + length - 1) // self.steps_per_epoch == epoch, "a call crosses the end of an epoch"
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_order(self.seed, epoch, self.size)
        return {"arrays": self._arrays, "order": self._order}

    def batch(self, inputs: dict[str, Any], step: Any) -> Batch:
        if self.whole:
            return inputs["arrays"]
        start = step % self.steps_per_epoch * self.batch_size
        if "order" not in inputs:
            return {
                name: jax.lax.dynamic_slice_in_dim(array, start, self.batch_size)
                for name, array in inputs["arrays"].items()
            }
        order = inputs["order"]
        # A reversed random order is as random as the order, and gives new pairs of rows in every epoch.
        orders = {name: order[::-1] if name in self._unaligned else order for name in inputs["arrays"]}
        return {
            name: array[jax.lax.dynamic_slice(orders[name], (start,), (self.batch_size,))]
            for name, array in inputs["arrays"].items()
        }


class GeneratedFeed(Feed):
    """Examples generated inside jit from (seed, step); every GENERATED_EPOCH steps count as an epoch."""

    def __init__(self, data: Generated, *, batch_size: int, seed: int):
        self.batch_size, self.size, self.steps_per_epoch = batch_size, None, GENERATED_EPOCH
        self.seed, self._generate = seed, data.generate

    def inputs(self, step: int, length: int) -> tuple[()]:
        return ()

    def batch(self, inputs: tuple[()], step: Any) -> Batch:
        return self._generate(jax.random.fold_in(rng_key(self.seed, ORDER), step), self.batch_size)


class Streaming(Feed):
    """A source that Grain reads and decodes ahead of the step, in threads or in worker processes.

    The order differs from that of `InMemory`: Grain computes its permutation index by index.
    """

    refresh_every = 1

    def __init__(self, source: Source, *, size: int, batch_size: int, shuffle: bool, seed: int, workers: int):
        import grain  # the import takes two seconds, and only streaming needs it

        self.batch_size, self.size, self.steps_per_epoch = batch_size, size, size // batch_size
        self.workers = workers
        examples = grain.MapDataset.source(source)[:size]
        if shuffle:
            # Grain adds the epoch to its seed, so consecutive seeds would give the same orders.
            mixed = np.random.SeedSequence((seed % 2**64, ORDER)).generate_state(1)[0]
            examples = examples.shuffle(int(mixed))
        whole = examples[: self.steps_per_epoch * batch_size]
        self._batches = whole.batch(batch_size, drop_remainder=True).repeat()
        self._iterator: DatasetIterator[dict[str, np.ndarray]] | None = None
        self._next = -1

    def inputs(self, step: int, length: int) -> Batch:
        assert length == 1, "a call of streamed data is one step"
        iterator = self._iterator
        starting = iterator is None or step != self._next
        if iterator is None or step != self._next:
            self.close()
            iterator = self._iterator = self._iterate(step)
        # Grain starts its processes when the first batch is requested.
        with _ignoring_ctrl_c() if starting and self.workers else contextlib.nullcontext():
            batch = next(iterator)
        self._next = step + 1
        if self.workers:  # a copy, because the array may live longer than the workers' shared memory
            batch = {name: np.array(value) for name, value in batch.items()}
        return jax.device_put(batch)

    def batch(self, inputs: Batch, step: Any) -> Batch:
        return inputs

    def close(self) -> None:
        if self._iterator is not None:
            self._iterator.close()
        self._iterator, self._next = None, -1

    def _iterate(self, step: int) -> "DatasetIterator[dict[str, np.ndarray]]":
        import grain

        # Grain's default buffer of 500 elements is too large: an element here is a batch.
        threads = 1 if self.workers else min(8, os.cpu_count() or 1)
        reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
        batches = self._batches[step:].to_iter_dataset(reading)
        if self.workers:
            from absl import flags

            if not flags.FLAGS.is_parsed():  # Grain reads absl's flags, which only absl's app.run parses
                flags.FLAGS.mark_as_parsed()
            options = grain.MultiprocessingOptions(num_workers=self.workers, per_worker_buffer_size=1)
            batches = batches.mp_prefetch(options)
        return iter(batches)


@contextlib.contextmanager
def _ignoring_ctrl_c() -> Iterator[None]:
    """A context in which this process ignores Ctrl-C, so that processes that it starts inherit this.

    A terminal sends Ctrl-C to all its processes, but the workers must run until the loop stops them. A
    handler that a worker sets in its own code would be set too late.
    """
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # Python allows signal handlers only in the main thread
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _ArraySource(Source):
    """Arrays as a source."""

    def __init__(self, arrays: Arrays):
        self.arrays = arrays

    def __len__(self) -> int:
        return len(next(iter(self.arrays.values())))

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {name: array[index] for name, array in self.arrays.items()}

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self.arrays.values())


def make_feed(
    data: Data | Arrays | Source | Generated, *, batch_size: int | None, shuffle: bool, seed: int,
    take: int | None = None, streaming: bool = False, workers: int = 0, limit: int = IN_MEMORY_LIMIT,
) -> Feed:  # fmt: skip
    """The feed of a split: `InMemory`, `GeneratedFeed` or `Streaming`.

    data: a split, or a Data, whose training split is used. batch_size: None for all examples in every step.
    take: use only this number of examples, the first ones. streaming: stream even data that fits into memory;
    sources larger than `limit` bytes are always streamed. workers: processes that read ahead, 0 for threads.
    Errors: ValueError for a batch size out of range, and for options that this data does not support.
    """
    split = data.train if isinstance(data, Data) else data
    unaligned = data.unaligned if isinstance(data, Data) else frozenset[str]()
    if isinstance(split, Generated):
        if batch_size is None or batch_size < 1:
            raise ValueError(f"generated data needs a batch_size of at least 1, got {batch_size}")
        if take is not None or streaming:
            raise ValueError("generated data is unlimited, so `take` and `streaming` cannot be used")
        return GeneratedFeed(split, batch_size=batch_size, seed=seed)
    if isinstance(split, dict) and streaming:
        if unaligned:
            raise ValueError("unpaired images of two domains are shuffled in memory and cannot be streamed")
        split = _ArraySource(split)
    count = split_size(split)
    size = count if take is None else min(take, count)
    if size < 1:
        raise ValueError("the data set has no examples")
    if batch_size is not None and not 1 <= batch_size <= size:
        raise ValueError(f"batch_size must be from 1 to the data set's {size} examples, got {batch_size}")
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    if isinstance(split, Source):
        nbytes = split.nbytes * size // count
        if streaming or nbytes > limit:
            if batch_size is None:
                raise ValueError(
                    f"batch_size None needs all of the data in memory, but these {nbytes:,} bytes are "
                    "streamed: give a batch_size"
                )
            return Streaming(
                split, size=size, batch_size=batch_size, shuffle=shuffle, seed=seed, workers=workers
            )
        split = read_source(split, size)
    arrays = {name: array[:size] for name, array in split.items()}
    return InMemory(arrays, batch_size=batch_size, shuffle=shuffle, seed=seed, unaligned=unaligned)
