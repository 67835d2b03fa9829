"""RULES: layer type -> its leaves, each with its name in torch and its layout.

A rule holds for weights, gradients, buffers and optimizer moments alike, in both directions, and
for subclasses of its type. Our own layers carry torch's names, so only layouts differ.
"""

from collections.abc import Mapping

from flax import nnx

from convert.layouts import CONV2D, SAME, TRANSPOSED, Layout
from flax_models import layers

Rule = Mapping[str, tuple[str, Layout]]  # {leaf in Flax: (leaf in torch, layout)}


def _named_alike(**layouts: Layout) -> Rule:
    return {name: (name, layout) for name, layout in layouts.items()}


_BATCH_NORM = _named_alike(
    weight=SAME, bias=SAME, running_mean=SAME, running_var=SAME, num_batches_tracked=SAME
)

RULES: dict[type[nnx.Module], Rule] = {
    layers.Linear: _named_alike(weight=TRANSPOSED, bias=SAME),
    layers.Conv2d: _named_alike(weight=CONV2D, bias=SAME),
    layers.ConvTranspose2d: _named_alike(weight=CONV2D, bias=SAME),  # (kH, kW, out, in) -> (in, out, kH, kW)
    layers.BatchNorm1d: _BATCH_NORM,
    layers.BatchNorm2d: _BATCH_NORM,
}


def rule_for(module: nnx.Module) -> Rule | None:
    """The rule of the module's type, or of the nearest base class that has one."""
    return next((RULES[cls] for cls in type(module).__mro__ if cls in RULES), None)
