"""Batches as a pure function of (seed, step): a run that starts at any step sees those of a whole run.

Data that fits lives on the device as it is (images as uint8), and a step gathers its rows inside jit. What is
made afresh is made there too. What does not fit comes through Grain, a batch a step.

The loop asks a feed twice. Outside jit, `inputs` gives the arrays that a call of some steps takes, as its
argument; inside, `batch` makes of them the batch of one step.
"""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train.data.random_keys import ORDER, epoch_order, rng_key
from train.data.sources import Arrays, Data, Generated, Source, read_source, split_size

Batch = dict[str, jax.Array]

IN_MEMORY_LIMIT = 1 << 30  # bytes of a source that is read into memory rather than streamed
GENERATED_EPOCH = 100  # steps that count as an epoch where there is no end of examples


class Feed:
    """Batches of one split.

    batch_size: examples a step. size: examples there are, None where they are made afresh.
    steps_per_epoch: whole batches only; the examples left over take part in another epoch's order.
    refresh_every: steps after which `inputs` must be asked again, None for never; a call of many steps never
    crosses a multiple of it.
    """

    batch_size: int
    size: int | None
    steps_per_epoch: int
    refresh_every: int | None = None

    def inputs(self, step: int, length: int) -> Any:
        """The device arrays (a pytree) that a call of `length` steps from `step` on takes as its argument."""
        raise NotImplementedError

    def batch(self, inputs: Any, step) -> Batch:
        """The batch of one step, {name: (batch_size, ...)}; pure, inside jit, with `step` traced."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends what runs beside the loop; the feed can be used again, and starts it anew."""


class InMemory(Feed):
    """All examples on the device, in a new order every epoch, or as they come.

    arrays: {name: (N, ...)}. A batch_size of None takes all N in every step, as they come.
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
        self._epoch, self._order = -1, None

    def inputs(self, step: int, length: int) -> dict[str, Any]:
        if self.refresh_every is None:
            return {"arrays": self._arrays}
        epoch = step // self.steps_per_epoch
        assert (step + length - 1) // self.steps_per_epoch == epoch, "a call crosses the end of an epoch"
        if epoch != self._epoch:
            self._epoch, self._order = epoch, epoch_order(self.seed, epoch, self.size)
        return {"arrays": self._arrays, "order": self._order}

    def batch(self, inputs: dict[str, Any], step) -> Batch:
        if self.whole:
            return inputs["arrays"]
        start = step % self.steps_per_epoch * self.batch_size
        if "order" not in inputs:
            return {
                name: jax.lax.dynamic_slice_in_dim(array, start, self.batch_size)
                for name, array in inputs["arrays"].items()
            }
        orders = dict.fromkeys(inputs["arrays"], inputs["order"])
        # A reversed random order is as random as the order, and pairs the rows anew in every epoch.
        orders |= dict.fromkeys(self._unaligned, inputs["order"][::-1])
        return {
            name: array[jax.lax.dynamic_slice(orders[name], (start,), (self.batch_size,))]
            for name, array in inputs["arrays"].items()
        }


class GeneratedFeed(Feed):
    """Examples made inside jit from (seed, step); an epoch is a matter of counting."""

    def __init__(self, fresh: Generated, *, batch_size: int, seed: int):
        self.batch_size, self.size, self.steps_per_epoch = batch_size, None, GENERATED_EPOCH
        self.seed, self._generate = seed, fresh.generate

    def inputs(self, step: int, length: int) -> tuple[()]:
        return ()

    def batch(self, inputs: tuple[()], step) -> Batch:
        return self._generate(jax.random.fold_in(rng_key(self.seed, ORDER), step), self.batch_size)


class Streaming(Feed):
    """A source through Grain: read and decoded ahead of the step, in threads or in worker processes.

    The order is Grain's, not that of `InMemory`: a permutation that is computed index by index.
    """

    refresh_every = 1

    def __init__(self, source: Source, *, size: int, batch_size: int, shuffle: bool, seed: int, workers: int):
        import grain  # takes two seconds, and only this needs it

        self.batch_size, self.size, self.steps_per_epoch = batch_size, size, size // batch_size
        self.workers = workers
        examples = grain.MapDataset.source(source)[:size]
        if shuffle:
            # Grain adds the epoch to its seed, so seeds that follow one another would share epochs.
            mixed = np.random.SeedSequence((seed % 2**64, ORDER)).generate_state(1)[0]
            examples = examples.shuffle(int(mixed))
        whole = examples[: self.steps_per_epoch * batch_size]
        self._batches = whole.batch(batch_size, drop_remainder=True).repeat()
        self._iterator: Iterator[Batch] | None = None
        self._next = -1

    def inputs(self, step: int, length: int) -> Batch:
        assert length == 1, "streamed data comes a step at a time"
        starting = self._iterator is None or step != self._next
        if starting:
            self.close()
            self._iterator = self._iterate(step)
        # Grain starts its processes when it is asked for the first batch.
        with _uninterrupted() if starting and self.workers else contextlib.nullcontext():
            batch = next(self._iterator)
        self._next = step + 1
        if self.workers:  # out of the shared memory of the workers, which an array may outlive
            batch = {name: np.array(value) for name, value in batch.items()}
        return jax.device_put(batch)

    def batch(self, inputs: Batch, step) -> Batch:
        return inputs

    def close(self) -> None:
        if self._iterator is not None:
            self._iterator.close()
        self._iterator, self._next = None, -1

    def _iterate(self, step: int) -> Iterator[Batch]:
        import grain

        # Grain's own default holds 500 elements ahead, and an element here is a batch.
        threads = 1 if self.workers else min(8, os.cpu_count() or 1)
        reading = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
        batches = self._batches[step:].to_iter_dataset(reading)
        if self.workers:
            from absl import flags

            if not flags.FLAGS.is_parsed():  # Grain asks absl's flags, which only absl's own main parses
                flags.FLAGS.mark_as_parsed()
            options = grain.MultiprocessingOptions(num_workers=self.workers, per_worker_buffer_size=1)
            batches = batches.mp_prefetch(options)
        return iter(batches)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Processes started in here ignore Ctrl-C, which reaches all of a terminal: the loop answers it for them.

    They inherit it from this process, which ignores it meanwhile: their own code would come too late.
    """
    if threading.current_thread() is not threading.main_thread():  # where Python allows no handlers
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class _Rows(Source):
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
    """The feed that suits a split (a Data stands for its training split).

    batch_size: None for all of the data in every step. take: the first so many examples only. stream: through
    Grain even where the data fits; a source of more than `limit` bytes always is. workers: processes that
    read ahead, 0 for threads.
    Errors: ValueError where a batch does not fit, or what is asked for has no meaning for this data.
    """
    split = data.train if isinstance(data, Data) else data
    unaligned = data.unaligned if isinstance(data, Data) else frozenset[str]()
    if isinstance(split, Generated):
        if batch_size is None or batch_size < 1:
            raise ValueError(f"data that is made afresh needs a batch_size of at least 1, got {batch_size}")
        if take is not None or streaming:
            raise ValueError("data that is made afresh has no first examples to take, and nothing to stream")
        return GeneratedFeed(split, batch_size=batch_size, seed=seed)
    if isinstance(split, dict) and streaming:
        if unaligned:
            raise ValueError("two domains are paired anew every epoch, in memory: they cannot be streamed")
        split = _Rows(split)
    count = split_size(split)
    size = count if take is None else min(take, count)
    if batch_size is not None and not 1 <= batch_size <= size:
        raise ValueError(f"batch_size must be from 1 to the data set's {size} examples, got {batch_size}")
    if size < 1:
        raise ValueError("the data set has no examples")
    if workers < 0:
        raise ValueError(f"workers must be at least 0, got {workers}")
    if isinstance(split, Source):
        nbytes = split.nbytes * size // count
        if streaming or nbytes > limit:
            if batch_size is None:
                raise ValueError(
                    f"all of the data in every step needs it in memory, and it takes {nbytes:,} bytes"
                )
            return Streaming(
                split, size=size, batch_size=batch_size, shuffle=shuffle, seed=seed, workers=workers
            )
        split = read_source(split, size)
    arrays = {name: array[:size] for name, array in split.items()}
    return InMemory(arrays, batch_size=batch_size, shuffle=shuffle, seed=seed, unaligned=unaligned)
