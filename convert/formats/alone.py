"""Checks an export: a process without this project runs it, and its outputs must equal those of Flax."""

import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch
from flax import nnx

from convert.certificate.calls import as_dtype, output_difference, to_torch_input
from convert.certificate.tolerances import TOLERANCES
from convert.formats import Format
from convert.twins import Example
from train.backend import short_compiler_options

BATCH_SIZES = (1, 2, 7)
LONGER = 4  # added to the lengths of elastic axes in a further check
REFUSED = ("flax_models", "torch_models", "train", "convert", "benchmarks", "jax", "flax")

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
call = load(sys.argv[1])
calls = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    torch.save([call(*inputs) for inputs in calls], sys.argv[3])
"""


class ExportError(ValueError):
    """An export does not load, or its outputs differ from those of the Flax model."""


def check_export(
    path: Path, form: Format, flax_module: nnx.Module, examples: Sequence[Example], *, seed: int = 0
) -> float:
    """The largest difference between the outputs of an export, run on its own, and of the Flax module.

    Both get the same random inputs, with several batch sizes, and with two lengths if an axis is elastic.
    Errors: ExportError for a file that does not load, and for a difference above the float32 tolerance.
    """
    rng = np.random.default_rng(seed)
    sizes = [(batch, 0) for batch in BATCH_SIZES]
    if any(example.elastic for example in examples):
        sizes.append((BATCH_SIZES[1], LONGER))
    calls = [[as_dtype(example.draw(rng, *size), np.float32) for example in examples] for size in sizes]
    exported = run_alone(path, form, calls)
    flax_module.eval()
    graph, variables = nnx.split(flax_module)
    flax_module.train()
    # Two exports of one child have the same program; with the lock, one thread compiles it for both.
    with jax.default_matmul_precision("highest"), _COMPILING:
        expected = [_jit_outputs()(graph, variables, inputs) for inputs in calls]
    error = max(output_difference(y, t) for y, t in zip(expected, exported, strict=True))
    allowed = TOLERANCES["float32"].forward
    if error > allowed:
        raise ExportError(f"{path} differs from the Flax model by {error:.1e}, more than {allowed:.0e}")
    return error


_COMPILING = threading.Lock()


@cache
def _jit_outputs() -> Any:
    """outputs(graph, variables, inputs) of a Flax module that `nnx.split` has split, jitted."""

    def outputs(graph: nnx.GraphDef[Any], variables: Any, inputs: Any) -> Any:
        model: Any = nnx.merge(graph, variables)
        return model(*inputs)

    return jax.jit(outputs, static_argnums=0, compiler_options=short_compiler_options())


def run_alone(path: Path, form: Format, calls: Sequence[Sequence[np.ndarray]]) -> list[Any]:
    """The outputs of an export for each list of inputs, from a process that cannot import this project.

    calls: the inputs of each call, channels last. Errors: ExportError for a file that does not load there.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.pt", Path(folder) / "outputs.pt"
        torch.save([[to_torch_input(array) for array in call] for call in calls], inputs)
        arguments = [str(Path(path).resolve()), str(inputs), str(outputs)]
        result = subprocess.run(
            [sys.executable, "-I", "-c", form.loader + _PROGRAM, *arguments],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        if result.returncode:
            raise ExportError(f"{path} does not load alone: {result.stderr.strip().splitlines()[-1]}")
        return torch.load(outputs, weights_only=True)
