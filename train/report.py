"""What a run tells: a progress line, metrics.jsonl, and the card at the end."""

import contextlib
import json
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
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

from train.plots import is_metric

PLAIN_SECONDS = 5.0  # between lines where there is no terminal


class Metrics:
    """metrics.jsonl of a run folder: one record a line, each the mean since the last."""

    def __init__(self, workdir: Path, step: int):
        self.path = workdir / "metrics.jsonl"
        # A run that was killed had written past its last checkpoint: those steps are run again.
        self.records = [record for record in read_metrics(workdir) if record["step"] <= step]
        self.path.write_text("".join(json.dumps(record) + "\n" for record in self.records))

    def write(self, record: Mapping[str, Any]) -> None:
        self.records.append(dict(record))
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """The records of a run folder; a last line that was cut off is left out."""
    path = workdir / "metrics.jsonl"
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


class Reporter:
    """Progress of a run: one live line on a terminal, plain lines elsewhere."""

    def __init__(self, title: str, total_steps: int, first_step: int):
        self.console = Console(file=sys.stdout, highlight=False, soft_wrap=not sys.stdout.isatty())
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
        """A line that stays."""
        self.console.print(line, markup=False)

    def step(self, step: int) -> None:
        self._progress.update(self._task, completed=step)

    def metrics(self, record: Mapping[str, Any]) -> None:
        """Shows a record of metrics.jsonl: the losses and the speed."""
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
    """Seconds of training: runs but for what is done `aside`."""

    def __init__(self) -> None:
        self.total = self.seconds = 0.0
        self._start = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap, or since the beginning; added to `total`."""
        now = time.perf_counter()
        lap, self._start = now - self._start, now
        self.total += lap
        return lap

    @contextlib.contextmanager
    def aside(self) -> Iterator["Stopwatch"]:
        """What happens within does not count; its length is left in `seconds`."""
        start = time.perf_counter()
        yield self
        self.seconds = time.perf_counter() - start
        self._start += self.seconds


def duration(seconds: float) -> str:
    """75.2 -> "1 min 15 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def print_card(console: Console, title: str, rows: Mapping[str, str]) -> None:
    """The results card: a short table in a frame."""
    from rich.panel import Panel
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    for name, value in rows.items():
        table.add_row(name, value)
    console.print(Panel(table, title=title, expand=False))
