"""Dropout in both frameworks with the same masks: the Flax model draws them, the torch model takes them.

A mask belongs to the layer by its path, and to the call by its number.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from flax import nnx

from convert.certificate.recording import report_calls
from convert.layouts import activation
from flax_models.layers import Dropout

Masks = dict[str, list[Any]]
"""{dotted path of a dropout layer: its masks in the order of its calls}; true where a value is kept."""


def record_masks(model: nnx.Module) -> Masks:
    """A dict that calls of the model fill with the masks that its dropout layers draw."""
    masks: Masks = {}
    report_calls(
        model, lambda path, mask: masks.setdefault(path, []).append(mask), method="draw_mask", kind=Dropout
    )
    return masks


@contextlib.contextmanager
def given_masks(model: torch.nn.Module, masks: Mapping[str, Sequence[np.ndarray]]) -> Iterator[None]:
    """A context in which the dropout layers of a torch model in training take these masks.

    Errors: ValueError where a layer is called more or less often than it has masks.
    """
    left = {path: [*reversed(queue)] for path, queue in masks.items()}

    def hook(path: str) -> Any:
        def replace(layer: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            if not layer.training or layer.p == 0:
                return output
            if not left.get(path):
                raise ValueError(
                    f"the torch model calls the dropout layer {path} more often than the Flax model"
                )
            (given,) = args
            mask = np.asarray(left[path].pop())
            kept = torch.tensor(activation(mask).to_torch(mask), dtype=given.dtype, device=given.device)
            return given * kept * (0.0 if layer.p == 1 else 1 / (1 - layer.p))

        return replace

    handles = [
        module.register_forward_hook(hook(path))
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d)
    ]
    try:
        yield
        unused = [path for path, queue in left.items() if queue]
        if unused:
            raise ValueError(f"the torch model calls {', '.join(unused)} less often than the Flax model")
    finally:
        for handle in handles:
            handle.remove()
