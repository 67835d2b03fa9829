"""Interleaved timing: contenders take turns, many rounds, so that drift correct all alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Timing(NamedTuple):
    """Milliseconds of one call: the median of all rounds, and the quartiles around it."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def interleaved(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int, calls: int = 3, warmup: int = 3
) -> dict[str, Timing]:
    """In every round each contender has its turn: a call that does not count, and `calls` that do.

    As in training, a call then follows one of its own kind. After another's, it would share the cores with
    threads that still wait actively for their next work: of a step of 4 ms that is half as much again.
    A contender must block until its result is there.
    Errors: ValueError for less than one round.
    """
    if rounds < 1:
        raise ValueError(f"rounds must be at least 1, got {rounds}")
    for call in contenders.values():
        for _ in range(warmup):
            call()
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            call()
            samples[name] += [_milliseconds(call) for _ in range(calls)]
    return {name: _timing(values) for name, values in samples.items()}


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def _timing(values: list[float]) -> Timing:
    if len(values) == 1:
        return Timing(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Timing(median, low, high)
