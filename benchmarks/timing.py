"""Interleaved timing: all contenders run in turn in every round, so that drift affects all of them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple


class Timing(NamedTuple):
    """Milliseconds of one call: the median of all calls, and the lower and the upper quartile."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f} to {self.high:.2f})"


def interleaved(
    contenders: Mapping[str, Callable[[], object]], *, rounds: int, calls: int = 3, warmup: int = 3
) -> dict[str, Timing]:
    """{name: its timing} of the contenders, functions that return when their result is computed.

    warmup: calls before the first round. In every round each contender is called once without measurement and
    then `calls` times with it. The unmeasured call is needed because the threads of the previous contender
    still busy-wait and use the cores; without the unmeasured call, a call of 4 ms would take about 6 ms.
    Errors: ValueError for fewer than one round.
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
    return {name: timing_of(values) for name, values in samples.items()}


def _milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return (time.perf_counter() - start) * 1e3


def timing_of(values: list[float]) -> Timing:
    """The median and the quartiles of some times."""
    if len(values) == 1:
        return Timing(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Timing(median, low, high)
