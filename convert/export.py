"""Exports of trained models: TorchScript, which runs where there is no Python.

An export takes and returns channels-first tensors, of any batch size. Before it counts, it is
loaded in a fresh Python process in which nothing of ours can be imported, and held against the
Flax model. This is the only file that names torch.jit.
"""

import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import torch
from flax import nnx

from convert.compare import as_dtype, output_difference, to_torch_input
from convert.tolerances import TOLERANCES
from convert.twins import Example

BATCH_SIZES = (1, 2, 7)
LONGER = 4  # elastic axes are checked at this many more places too
OURS = ("flax_models", "torch_models", "train", "convert", "benchmarks", "jax", "flax")

# Runs alone: it may import nothing of ours. argv: the export, the inputs, where the outputs go.
_LOADER = f"""
import importlib.abc, sys
class Refuse(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {OURS!r}:
            raise ImportError(name + " must not be needed here")
sys.meta_path.insert(0, Refuse())
import warnings
warnings.simplefilter("ignore")
import torch
module = torch.jit.load(sys.argv[1])
calls = torch.load(sys.argv[2], weights_only=True)
with torch.no_grad():
    torch.save([module(*inputs) for inputs in calls], sys.argv[3])
"""


class ExportError(ValueError):
    """An export does not load, or does not give what the Flax model gives."""


def export_torchscript(module: torch.nn.Module, path: Path) -> Path:
    """Writes a torch module, in evaluation mode, as TorchScript; returns the path."""
    training = module.training
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is what this export is for
        scripted = torch.jit.script(module.eval())
        scripted.save(str(path))
    module.train(training)
    return path


def check_export(path: Path, flax_module: nnx.Module, examples: Sequence[Example], *, seed: int = 0) -> float:
    """The largest difference between an export, run on its own, and the Flax module.

    Both see the same random inputs at several batch sizes, and at two lengths where an axis is elastic.
    Errors: ExportError where the file does not load without us, or a difference passes the float32
    tolerance.
    """
    rng = np.random.default_rng(seed)
    sizes = [(batch, 0) for batch in BATCH_SIZES]
    if any(example.elastic for example in examples):
        sizes.append((BATCH_SIZES[1], LONGER))
    calls = [[as_dtype(example.draw(rng, *size), np.float32) for example in examples] for size in sizes]
    theirs = run_alone(path, calls)
    flax_module.eval()
    graph, variables = nnx.split(flax_module)
    call = jax.jit(lambda variables, inputs: nnx.merge(graph, variables)(*inputs))
    with jax.default_matmul_precision("highest"):
        ours = [call(variables, inputs) for inputs in calls]
    flax_module.train()
    error = max(output_difference(y, t) for y, t in zip(ours, theirs, strict=True))
    allowed = TOLERANCES["float32"].forward
    if error > allowed:
        raise ExportError(f"{path} differs from the Flax model by {error:.1e}, more than {allowed:.0e}")
    return error


def run_alone(path: Path, calls: Sequence[Sequence[np.ndarray]]) -> list:
    """The outputs of an export for each list of inputs, from a process that has only torch."""
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = Path(folder) / "inputs.pt", Path(folder) / "outputs.pt"
        torch.save([[to_torch_input(array) for array in call] for call in calls], inputs)
        arguments = [str(Path(path).resolve()), str(inputs), str(outputs)]
        result = subprocess.run(
            [sys.executable, "-I", "-c", _LOADER, *arguments], cwd=folder, capture_output=True, text=True
        )
        if result.returncode:
            raise ExportError(f"{path} does not load on its own: {result.stderr.strip().splitlines()[-1]}")
        return torch.load(outputs, weights_only=True)
