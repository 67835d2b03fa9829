"""FORMATS: the file formats of an export, one row per format."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

from convert.formats import torchscript


class Format(NamedTuple):
    """A file format.

    suffix: the end of the file name. write: write(torch_module, path) writes the module in evaluation mode
    and returns the path. loader: Python source of a function `load(path)` that returns a function of tensors.
    It runs in a process that can import neither this project nor jax. methods: whether the file also has the
    methods that the attribute `exported` of the module names, as attributes of what `load` returns.
    """

    suffix: str
    write: Callable[[torch.nn.Module, Path], Path]
    loader: str
    methods: bool = False


FORMATS: dict[str, Format] = {
    "torchscript": Format(".torchscript.pt", torchscript.export_torchscript, torchscript.LOADER, True),
}
