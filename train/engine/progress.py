"""The progress line of a run, and the card of results at its end."""

import contextlib
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
)

from train.engine.metrics import is_metric

PLAIN_SECONDS = 5.0  # between lines if the output is not a terminal


class Reporter:
    """Progress of a run: one live line on a terminal, plain lines elsewhere.

    quiet: report nothing.
    """

    def __init__(self, title: str, total_steps: int, first_step: int, quiet: bool = False):
        self.console = Console(
            file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty(), quiet=quiet
        )
        self.title, self.total_steps = title, total_steps
        self._last_line = 0.0
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[status]}"),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task(title, total=total_steps, completed=first_step, status="")

    def __enter__(self) -> "Reporter":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, line: str) -> None:
        """Prints a line above the progress line."""
        self.console.print(line, markup=False)

    def step(self, step: int) -> None:
        """Shows that this step is done."""
        self._progress.update(self._task, completed=step)

    def metrics(self, record: Mapping[str, Any]) -> None:
        """Shows the losses and the speed of a record of metrics.jsonl."""
        losses = "  ".join(
            f"{name.replace('_', ' ')} {record[name]:.4g}" for name in record if is_metric(name)
        )
        steps, examples = record["steps_per_second"], record["examples_per_second"]
        status = f"{losses}  {steps:.1f} steps/s  {examples:.0f} examples/s"
        self._progress.update(self._task, status=status)
        last = record["step"] >= self.total_steps
        if not self.console.is_terminal and (last or time.monotonic() - self._last_line > PLAIN_SECONDS):
            self._last_line = time.monotonic()
            left = (self.total_steps - record["step"]) / record["steps_per_second"]
            self.say(f"step {record['step']}/{self.total_steps}  {status}  left {duration(left)}")


class Stopwatch:
    """A stopwatch that does not count the time spent inside `paused`."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._start = time.perf_counter()

    def lap(self) -> float:
        """The seconds since the previous lap, or since the start."""
        now = time.perf_counter()
        lap, self._start = now - self._start, now
        return lap

    @contextlib.contextmanager
    def paused(self) -> Iterator["Stopwatch"]:
        """A context whose time is not counted. Its duration is stored in `seconds`."""
        start = time.perf_counter()
        yield self
        self.seconds = time.perf_counter() - start
        self._start += self.seconds


def duration(seconds: float) -> str:
    """A length of time as text: 75.2 -> "1 min 15 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def print_card(console: Console, title: str, rows: Mapping[str, str]) -> None:
    """Prints the card of results: a short table in a frame."""
    from rich.panel import Panel
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(Panel(table, title=title, expand=False))
