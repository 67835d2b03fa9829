"""FORMATS: the file formats of an export, one row per format."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from convert.formats import torchscript


class Format(NamedTuple):
    """A file format.

    suffix: of the file name. write: (torch module, path) -> path; writes the module in evaluation mode.
    loader: Python source that defines `load(path)`, which returns a function of tensors. It runs in a process
    that cannot import this project, nor jax.
    """

    suffix: str
    write: Callable[[torch.nn.Module, Path], Path]
    loader: str


FORMATS: dict[str, Format] = {
    "torchscript": Format(".torchscript.pt", torchscript.export_torchscript, torchscript.LOADER),
}
