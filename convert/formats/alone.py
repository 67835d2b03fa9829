"""Checks an export: a process without this project runs it, and its outputs must equal those of Flax."""

import functools
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx

from convert.certificate.calls import as_dtype, output_difference, to_torch_input
from convert.certificate.tolerances import TOLERANCES
from convert.formats import Format
from convert.twins import Example, Method
from train.backend import short_compiler_options

BATCH_SIZES = (1, 2, 7)
LONGER = 4  # added to the lengths of elastic axes in a further check
REFUSED = ("flax_models", "torch_models", "train", "convert", "benchmarks", "jax", "flax")

Inputs = Sequence[np.ndarray | int]
"""The arguments of a call: arrays with channels last, and integers."""

# The program of the separate process. argv: the export, the inputs, the file for the outputs.
_PROGRAM = f"""
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {REFUSED!r}:
            raise ImportError(name + " must not be needed here")
sys.meta_path.insert(0, Refuse())
import warnings
warnings.simplefilter("ignore")
import torch
module = load(sys.argv[1])
calls = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    outputs = [(getattr(module, method) if method else module)(*inputs) for method, inputs in calls]
torch.save(outputs, sys.argv[3])
"""


class ExportError(ValueError):
    """An export does not load, or its outputs differ from those of the Flax model."""


def check_export(
    path: Path, form: Format, flax_module: nnx.Module, examples: Sequence[Example],
    methods: Mapping[str, Method] | None = None, *, seed: int = 0,
) -> float:  # fmt: skip
    """The largest difference between the outputs of an export, run on its own, and of the Flax module.

    Both get the same random inputs, with several batch sizes, and with two lengths if an axis is elastic.
    methods: the exported methods, which are compared too, if the format has methods, with the last inputs.
    Integers, such as decoded symbols, must be equal.
    Errors: ExportError for a file that does not load, and for a difference above the float32 tolerance.
    """
    rng = np.random.default_rng(seed)
    sizes = [(batch, 0) for batch in BATCH_SIZES]
    if any(example.elastic for example in examples):
        sizes.append((BATCH_SIZES[1], LONGER))
    drawn = [[as_dtype(example.draw(rng, *size), np.float32) for example in examples] for size in sizes]
    calls: list[tuple[str, Inputs]] = [("", inputs) for inputs in drawn]
    for name, method in (methods or {}).items() if form.methods else ():
        calls.append((name, [*drawn[-1][: method.inputs], *method.integers]))
    names, inputs = zip(*calls, strict=True)
    exported = run_alone(path, form, inputs, names)
    expected = _call_flax(flax_module, calls)
    error = max(_error(y, t) for y, t in zip(expected, exported, strict=True))
    allowed = TOLERANCES["float32"].forward
    if error > allowed:
        raise ExportError(f"{path} differs from the Flax model by {error:.1e}, more than {allowed:.0e}")
    return error


_COMPILING = threading.Lock()


def _call_flax(flax_module: nnx.Module, calls: Sequence[tuple[str, Inputs]]) -> list[Any]:
    """The outputs of the Flax module, in evaluation mode, for each (method, inputs)."""
    flax_module.eval()
    graph, variables = nnx.split(flax_module)
    flax_module.train()
    outputs = []
    # Two exports of one child have the same program. With the lock, one thread compiles it for both.
    with jax.default_matmul_precision("highest"), _COMPILING:
        for method, inputs in calls:
            arrays = [value for value in inputs if isinstance(value, np.ndarray)]
            arguments = tuple(value for value in inputs if isinstance(value, int))
            outputs.append(_jit_call()(graph, variables, arrays, method, arguments))
    return outputs


@functools.cache
def _jit_call() -> Any:
    """call(graph, variables, arrays, method, arguments) of a module that `nnx.split` has split, jitted."""

    def call(graph: Any, variables: Any, arrays: Any, method: str, arguments: tuple[int, ...]) -> Any:
        model: Any = nnx.merge(graph, variables)
        return (getattr(model, method) if method else model)(*arrays, *arguments)

    return jax.jit(call, static_argnums=(0, 3, 4), compiler_options=short_compiler_options())


def _error(flax_output: Any, torch_output: Any) -> float:
    """The largest difference of two outputs; infinite for integers that are not equal."""
    pairs = zip(jax.tree.leaves(flax_output), jax.tree.leaves(torch_output), strict=True)
    errors = []
    for ours, theirs in pairs:
        error = output_difference(ours, theirs)
        errors.append(np.inf if error and not theirs.is_floating_point() else error)
    return max(errors)


def run_alone(
    path: Path, form: Format, calls: Sequence[Inputs], methods: Sequence[str] | None = None
) -> list[Any]:
    """The outputs of an export for each list of inputs, from a process that cannot import this project.

    calls: the inputs of each call. methods: the exported method that each call is for, "" for the module
    itself; by default all calls are for the module.
    Errors: ExportError for a file that does not load there.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.pt", Path(folder) / "outputs.pt"
        tensors = [[v if isinstance(v, int) else to_torch_input(v) for v in call] for call in calls]
        torch.save(list(zip(methods or [""] * len(calls), tensors, strict=True)), inputs)
        arguments = [str(Path(path).resolve()), str(inputs), str(outputs)]
        result = subprocess.run(
            [sys.executable, "-I", "-c", form.loader + _PROGRAM, *arguments],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        if result.returncode:
            raise ExportError(f"{path} does not load alone: {result.stderr.strip().splitlines()[-1]}")
        return torch.load(outputs, weights_only=True)
