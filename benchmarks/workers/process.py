"""A process that answers requests, one JSON line each, and its side of the conversation."""

import ctypes
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RUN_SECONDS, MIN_CALLS = 0.3, 3


class WorkerError(ValueError):
    """A worker stopped. The message is the last line that it wrote to stderr."""


class Worker:
    """A process that runs a module of `benchmarks.workers`; use it as a context.

    python: the interpreter. module: the last part of the module's name.
    """

    def __init__(self, python: Path | str, module: str):
        self.name = f"{module} of {python}"
        self.process = subprocess.Popen(
            [str(python), "-m", f"benchmarks.workers.{module}"], cwd=ROOT, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    def ask(self, request: str, **arguments: Any) -> Any:
        """The worker's answer. Errors: WorkerError if it stopped."""
        assert self.process.stdin and self.process.stdout and self.process.stderr
        try:
            self.process.stdin.write(json.dumps([request, arguments]) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        answer = self.process.stdout.readline()
        if not answer:
            *_, last = ["no message", *self.process.stderr.read().strip().splitlines()]
            raise WorkerError(f"{self.name} stopped: {last}")
        return json.loads(answer)

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.communicate()


def serve(handlers: Mapping[str, Callable[..., Any]]) -> None:
    """Answers requests from stdin until it ends. What a library prints goes to stderr."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    for line in sys.stdin:
        request, arguments = json.loads(line)
        print(json.dumps(handlers[request](**arguments)), file=answers, flush=True)


def run_milliseconds(call: Callable[[], object]) -> float:
    """The median time of one call in a run: calls for RUN_SECONDS, after some that are not timed.

    In training a step follows another one. After another process has used the cores, the caches are cold,
    and a step of 2.4 ms takes 4.
    """
    times: list[float] = []
    warm = time.perf_counter() + RUN_SECONDS / 3
    call()
    while time.perf_counter() < warm:
        call()
    end = time.perf_counter() + RUN_SECONDS
    while len(times) < MIN_CALLS or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def resident_mebibytes() -> float:
    """The memory of this process that is in use, after what is free has been given back; Linux only."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return _status("VmRSS")


def peak_mebibytes(call: Callable[[], object]) -> float:
    """The most memory of this process that is in use during two calls; Linux only."""
    resident_mebibytes()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
    call()
    call()
    return _status("VmHWM")


def _status(name: str) -> float:
    (line,) = (one for one in Path("/proc/self/status").read_text().splitlines() if one.startswith(name))
    return int(line.split()[1]) / 1024
