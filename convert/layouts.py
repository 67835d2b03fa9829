"""Reversible array layouts: how a Flax array lies in memory against its torch tensor.

A layout is declared in the direction Flax -> torch and knows its inverse, so that weights,
gradients and optimizer moments cross both ways by one declaration.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Layout:
    """A permutation of axes, then a reversal of some: flax array -> torch array.

    axes: the Flax axis that each torch axis takes; None keeps them all as they are.
    flip: torch axes that run backwards.
    """

    axes: tuple[int, ...] | None = None
    flip: tuple[int, ...] = ()

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        if self.axes is not None:
            array = array.transpose(self.axes)
        return np.flip(array, self.flip).copy() if self.flip else array  # torch takes no negative strides

    def to_flax(self, array: np.ndarray) -> np.ndarray:
        if self.flip:
            array = np.flip(array, self.flip)
        return array if self.axes is None else array.transpose(np.argsort(self.axes))

    def torch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return shape if self.axes is None else tuple(shape[axis] for axis in self.axes)


SAME = Layout()
TRANSPOSED = Layout((1, 0))  # (in, out) -> (out, in)
CONV2D = Layout((3, 2, 0, 1))  # (kH, kW, I, O) -> (O, I, kH, kW)
IMAGES = Layout((0, 3, 1, 2))  # (N, H, W, C) -> (N, C, H, W)


def activation(array: np.ndarray) -> Layout:
    """The layout of what passes between layers: (N, H, W, C) -> (N, C, H, W); others are the same."""
    return IMAGES if array.ndim == 4 else SAME
