"""Converts weights and optimizer state between Flax and PyTorch, certifies models, and exports them.

    from convert import to_torch, to_flax, verify

    to_torch(flax_module, torch_module)
    print(verify("dcgan"))

`python -m convert --help` lists the commands that do the same. Importing this package loads nothing heavy.
"""

from typing import TYPE_CHECKING

from train.lazy import lazy_attributes

if TYPE_CHECKING:
    from convert.certificate.result import Certificate
    from convert.certificate.verify import verify
    from convert.formats.torchscript import export_torchscript
    from convert.layouts import Layout
    from convert.optimizers import optimizer_to_flax, optimizer_to_torch
    from convert.twins import TWINS
    from convert.weights import ConversionError, to_flax, to_torch

__all__ = [
    "TWINS", "Certificate", "ConversionError", "Layout", "export_torchscript", "optimizer_to_flax",
    "optimizer_to_torch", "to_flax", "to_torch", "verify",
]  # fmt: skip

__getattr__, __dir__ = lazy_attributes(
    __name__,
    {
        "convert.certificate.result": ("Certificate",),
        "convert.certificate.verify": ("verify",),
        "convert.formats.torchscript": ("export_torchscript",),
        "convert.layouts": ("Layout",),
        "convert.optimizers": ("optimizer_to_flax", "optimizer_to_torch"),
        "convert.twins": ("TWINS",),
        "convert.weights": ("ConversionError", "to_flax", "to_torch"),
    },
)
