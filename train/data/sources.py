"""The types that hold data: arrays, a source of examples, or a function that generates examples."""

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]
"""Named arrays of one length, with one row per example."""

IN_MEMORY_LIMIT = 1 << 30
"""Bytes of the largest data that is read into memory; a larger Source is streamed."""


class Source:
    """Examples that are read one by one, for data that does not fit into memory.

    Access is random, and an index always gives the same example. Worker processes get a pickled copy, so a
    subclass keeps the names of its files, not open files.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One example as numpy values, such as {"image": (H, W, C) uint8, "label": int32}."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """The memory that all examples would take, in bytes, estimated without reading them."""
        raise NotImplementedError


@dataclass(frozen=True)
class Generated:
    """Examples that are generated on the device, new ones in every step.

    generate: generate(key, batch_size) -> batch, called inside jit.
    """

    generate: Callable[[Any, int], dict[str, Any]]


class Data(NamedTuple):
    """A data set.

    meta: facts of the set, written as JSON into the run folder; labelled images have {"classes": [...]}.
    unaligned: the names of arrays whose rows do not correspond to the rows of the other arrays, such as the
    second domain of unpaired images. A feed shuffles them in a different order.
    reported: {name: further test split}; a run only reports its metrics on them.
    """

    train: Arrays | Source | Generated
    test: Arrays | Source | None
    meta: dict[str, Any]
    unaligned: frozenset[str] = frozenset()
    reported: Mapping[str, Arrays] = {}


def check_memory(nbytes: int, what: str, advice: str) -> None:
    """ValueError if data that must fit into memory takes more than IN_MEMORY_LIMIT bytes.

    what: the data, in the plural. advice: what the user can do.
    """
    if nbytes > IN_MEMORY_LIMIT:
        raise ValueError(
            f"{what} take {nbytes:,} bytes; they must fit into memory, in {IN_MEMORY_LIMIT:,} bytes: {advice}"
        )


def read_source(source: Source, size: int) -> Arrays:
    """The first `size` examples as arrays. Threads share the work, because decoding releases the GIL."""
    arrays = {
        name: np.empty((size, *np.shape(value)), np.asarray(value).dtype) for name, value in source[0].items()
    }

    def read(index: int) -> None:
        for name, value in source[index].items():
            arrays[name][index] = value

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(read, range(size)):
            pass
    return arrays


def split_size(split: Arrays | Source) -> int:
    """The number of examples."""
    return len(next(iter(split.values()))) if isinstance(split, dict) else len(split)


def take_rows(split: Arrays | Source, rows: Any) -> Arrays:
    """The examples with these indices, (N,) integers, as arrays."""
    if isinstance(split, dict):
        return {name: np.asarray(array)[rows] for name, array in split.items()}
    examples = [split[int(row)] for row in rows]
    return {name: np.stack([example[name] for example in examples]) for name in examples[0]}


def split_batches(split: Arrays | Source, batch_size: int) -> Iterator[Arrays]:
    """The examples of a split in order, `batch_size` at a time; the last batch may be smaller."""
    size = split_size(split)
    for start in range(0, size, batch_size):
        stop = min(start + batch_size, size)
        if isinstance(split, dict):
            yield {name: array[start:stop] for name, array in split.items()}
        else:
            yield take_rows(split, range(start, stop))


def name_arrays(inputs: Any, targets: Any = None) -> Arrays:
    """{"image": ..., "label": ...} for images (N, H, W, C), {"x": ..., "y": ...} for other inputs.

    Integers become int32, except for images in uint8; float64 becomes float32.
    """
    x = np.asarray(inputs)
    names = ("image", "label") if x.ndim == 4 else ("x", "y")
    arrays = {names[0]: _narrow(x)}
    if targets is not None:
        arrays[names[1]] = _narrow(np.asarray(targets))
    return arrays


def _narrow(array: np.ndarray) -> np.ndarray:
    """The array in the types that jax computes in by default."""
    if array.dtype == np.float64:
        return array.astype(np.float32)
    if np.issubdtype(array.dtype, np.integer) and array.dtype != np.uint8:
        return array.astype(np.int32)
    return array


def as_data(data: Any) -> Data:
    """The Data of arrays that a caller has.

    data: a Data; a dict of arrays of one length; a tuple (inputs, targets); or a tuple (train, test) of two
    dicts. Labels that are integers from 0 on become the classes "0", "1" ... of `meta`.
    Errors: ValueError for anything else, and for arrays of different lengths.
    """
    if isinstance(data, Data):
        return data
    splits = _as_splits(data)
    for split in splits:
        lengths = {name: len(array) for name, array in split.items()}
        if not split or len(set(lengths.values())) != 1 or not min(lengths.values()):
            raise ValueError(f"the arrays of a split have one row per example each, got {lengths}")
    meta: dict[str, Any] = {}
    label = splits[0].get("label", splits[0].get("y"))
    if label is not None and label.ndim == 1 and np.issubdtype(label.dtype, np.integer) and label.min() >= 0:
        meta["classes"] = [str(number) for number in range(int(label.max()) + 1)]
    return Data(splits[0], splits[1] if len(splits) > 1 else None, meta)


def _as_splits(data: Any) -> list[Arrays]:
    if isinstance(data, dict):
        return [{name: _narrow(np.asarray(array)) for name, array in data.items()}]
    if isinstance(data, tuple | list) and len(data) == 2:
        if all(isinstance(part, dict | tuple) for part in data):
            return [_as_splits(part)[0] for part in data]
        return [name_arrays(*data)]
    raise ValueError(
        "data is a dict of arrays, a tuple (inputs, targets), or a tuple (train, test) of either; "
        f"got {type(data).__name__}"
    )
