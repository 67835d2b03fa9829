"""What the tests of runs share: commands in processes of their own, and the comparison of two runs."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from train.engine.runs import load_run

HEAVY_MODULES = ("jax", "flax", "optax", "torch", "matplotlib", "sklearn", "tensorflow_datasets")
"""What no command imports before it needs it."""


def start_command(module: str, *arguments: Any, cwd: Path) -> subprocess.Popen[str]:
    """A running `python -m module arguments`; its stdout has stderr too."""
    return subprocess.Popen(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=_environment(),
    )  # fmt: skip


def run_command(module: str, *arguments: Any, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A finished `python -m module arguments`."""
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, env=_environment(),
    )  # fmt: skip


def _environment() -> dict[str, str]:
    """The environment of a command that finds the packages from any folder."""
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}


@dataclass(frozen=True)
class Call:
    """A command that has ended. loaded: the heavy modules that were imported until then."""

    status: int
    stdout: str
    stderr: str
    loaded: list[str]

    @property
    def message(self) -> str:
        """stderr without the box that tyro draws, in one line."""
        return " ".join(re.sub("[─-╿]", " ", self.stderr).split())


def call_commands(calls: list[tuple[str, list[str]]], cwd: Path) -> list[Call]:
    """Several commands, (module, arguments) each, one after the other in one process."""
    script = f"""
import contextlib, importlib, io, json, sys
for module, arguments in {calls!r}:
    command = importlib.import_module(module)
    sys.argv = [module, *arguments]
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            command.run_command(command.PROG, command.main)
        except SystemExit as error:
            status = error.code or 0
    loaded = sorted(set({HEAVY_MODULES!r}) & set(sys.modules))
    print(json.dumps([status, out.getvalue(), err.getvalue(), loaded]))
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=cwd, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert len(lines) == len(calls), result.stdout
    return [Call(*json.loads(line)) for line in lines]


def states_are_equal(a: Path, b: Path) -> bool:
    """Whether two runs ended in the same state, bit for bit."""
    same = jax.tree.map(np.array_equal, load_run(a).state, load_run(b).state)
    return all(jax.tree.leaves(same))


def largest_distance(a: Any, b: Any) -> float:
    """The largest absolute difference of two trees of parameters."""
    return max(jax.tree.leaves(jax.tree.map(lambda x, y: float(np.abs(x - y).max()), a, b)))
