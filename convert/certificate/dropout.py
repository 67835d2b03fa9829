"""The same dropout masks in both frameworks: the Flax model draws them, and the torch model gets them.

A mask is identified by the path of its layer and the number of the call.
"""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from flax import nnx

from convert.certificate.recording import report_calls
from convert.layouts import activation_layout
from flax_models.layers import Dropout

Masks = dict[str, list[Any]]
"""{dotted path of a dropout layer: its masks in the order of the calls}, true where a value is kept."""


def record_masks(model: nnx.Module) -> Masks:
    """A dict that calls of the model fill with the masks of its dropout layers.

    model: is changed; clone or merge one for the purpose.
    """
    masks: Masks = {}
    report_calls(
        model, lambda path, mask: masks.setdefault(path, []).append(mask), method="draw_mask", kind=Dropout
    )
    return masks


@contextlib.contextmanager
def given_masks(model: torch.nn.Module, masks: Mapping[str, Sequence[np.ndarray]]) -> Iterator[None]:
    """A context in which the dropout layers of a torch model in training mode apply these masks.

    Errors: ValueError if the number of a layer's calls differs from the number of its masks.
    """
    remaining = {path: [*reversed(of_layer)] for path, of_layer in masks.items()}

    def hook(path: str) -> Any:
        def replace(layer: Any, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor:
            if not layer.training or layer.p == 0:
                return output
            if not remaining.get(path):
                raise ValueError(
                    f"the torch model calls the dropout layer {path} more often than the Flax model"
                )
            (given,) = args
            mask = np.asarray(remaining[path].pop())
            kept = torch.tensor(
                activation_layout(mask).to_torch(mask), dtype=given.dtype, device=given.device
            )
            return given * kept * (0.0 if layer.p == 1 else 1 / (1 - layer.p))

        return replace

    handles = [
        module.register_forward_hook(hook(path))
        for path, module in model.named_modules()
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d)
    ]
    try:
        yield
        unused = [path for path, of_layer in remaining.items() if of_layer]
        if unused:
            raise ValueError(f"the torch model calls {', '.join(unused)} less often than the Flax model")
    finally:
        for handle in handles:
            handle.remove()
