"""What a data set is once it is read: arrays, a source of examples, or a rule that makes them."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

Arrays = dict[str, np.ndarray]
"""Named arrays of one length, a row per example."""


class Source:
    """Examples read one by one: for what does not fit into memory.

    Random access, the same example for the same index; pickled into worker processes, so a subclass
    holds what to open and not what is open.
    """

    def __len__(self) -> int:
        raise NotImplementedError

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One example as numpy values, such as {"image": (H, W, C) uint8, "label": int32}."""
        raise NotImplementedError

    @property
    def nbytes(self) -> int:
        """Memory that all examples would take, in bytes, estimated without reading them."""
        raise NotImplementedError


@dataclass(frozen=True)
class Fresh:
    """Examples made on the device, new ones every step: generate(key, batch_size) -> batch, inside jit."""

    generate: Callable[[Any, int], dict[str, Any]]


class Data(NamedTuple):
    """A data set. meta goes into files as JSON; that of images has {"classes": [...]}."""

    train: "Arrays | Source | Fresh"
    test: "Arrays | Source | None"
    meta: dict[str, Any]


def read_source(source: Source, size: int) -> Arrays:
    """The first `size` examples as arrays; decoding leaves Python's lock, so threads share it."""
    arrays = {
        name: np.empty((size, *np.shape(value)), np.asarray(value).dtype) for name, value in source[0].items()
    }

    def place(index: int) -> None:
        for name, value in source[index].items():
            arrays[name][index] = value

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(place, range(size)):
            pass
    return arrays
