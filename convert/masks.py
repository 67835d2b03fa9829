"""Dropout in both frameworks with the same masks: drawn by the Flax model, given to the torch model.

Twins call their layers in the same order, so the masks are a queue.
"""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from convert.layouts import activation
from flax_models.layers import Dropout

THEIRS = (torch.nn.Dropout, torch.nn.Dropout2d)


@contextlib.contextmanager
def recorded_masks() -> Iterator[list[Any]]:
    """Within it, every mask that a Flax Dropout draws is left in the list, in the order of the draws."""
    masks: list[Any] = []
    original = Dropout.draw_mask

    def recording(self: Dropout, x: Any) -> Any:
        mask = original(self, x)
        masks.append(mask)
        return mask

    Dropout.draw_mask = recording
    try:
        yield masks
    finally:
        Dropout.draw_mask = original


@contextlib.contextmanager
def given_masks(masks: Sequence[np.ndarray]) -> Iterator[None]:
    """Within it, torch's Dropout layers in training take these masks, true where a value is kept.

    Errors: ValueError where the layers are called less or more often than there are masks.
    """
    queue = list(reversed(masks))
    originals = {cls: cls.forward for cls in THEIRS}

    def forward(self: Any, input: torch.Tensor) -> torch.Tensor:
        if not self.training or self.p == 0:
            return input
        if not queue:
            raise ValueError("the torch model calls more dropout layers than the Flax model")
        mask = np.asarray(queue.pop())
        kept = torch.tensor(activation(mask).to_torch(mask), dtype=input.dtype, device=input.device)
        return input * kept * (0.0 if self.p == 1 else 1 / (1 - self.p))

    for cls in THEIRS:
        cls.forward = forward
    try:
        yield
        if queue:
            raise ValueError("the torch model calls fewer dropout layers than the Flax model")
    finally:
        for cls, original in originals.items():
            cls.forward = original
