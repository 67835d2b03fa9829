"""TorchScript: a file that runs in PyTorch, in Python or in C++. Only this module uses torch.jit."""

import warnings
from pathlib import Path

import torch

# The source of `load` for a process that has only torch.
LOADER = """
def load(path):
    import torch
    return torch.jit.load(path)
"""


def export_torchscript(module: torch.nn.Module, path: Path) -> Path:
    """Writes the torch module as TorchScript, in evaluation mode, and returns the path.

    The exported model takes and returns channels-first tensors of any batch size. It also has the methods
    that the attribute `exported` of the module names. The file is written atomically.
    """
    training = module.training
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch.jit is deprecated
        for name in getattr(module, "exported", ()):
            torch.jit.export(getattr(type(module), name))
        torch.jit.script(module.eval()).save(str(part))
    part.replace(path)
    module.train(training)
    return path
