"""Reversible array layouts: how the axes of a Flax array correspond to those of its torch tensor.

A layout is declared in the direction Flax -> torch and has an inverse, so one declaration converts weights,
gradients and optimizer moments in both directions.
"""

import math
from dataclasses import dataclass
from types import EllipsisType

import numpy as np

Axis = int | tuple[int, ...] | EllipsisType


@dataclass(frozen=True)
class Layout:
    """How a Flax array becomes a torch array: its axes are permuted, some are merged, some are reversed.

    axes: for each torch axis its Flax axis; negative numbers count from the end. A tuple of Flax axes is
    merged into one torch axis; the empty tuple () gives a torch axis of size 1; ... stands for all axes that
    are not named. flip: the torch axes that are reversed.
    """

    axes: tuple[Axis, ...] = (...,)
    flip: tuple[int, ...] = ()

    def fits(self, ndim: int) -> bool:
        """Whether the layout uses every axis of a Flax array of `ndim` dimensions exactly once."""
        groups = self._groups(ndim)
        once = sorted(axis for group in groups for axis in group) == list(range(ndim))
        return once and all(-len(groups) <= axis < len(groups) for axis in self.flip)

    def torch_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the torch array of a Flax array of this shape."""
        return tuple(math.prod(shape[axis] for axis in group) for group in self._groups(len(shape)))

    def to_torch(self, array: np.ndarray) -> np.ndarray:
        """The torch array of a Flax array."""
        order = [axis for group in self._groups(array.ndim) for axis in group]
        array = array.transpose(order).reshape(self.torch_shape(array.shape))
        return np.flip(array, self.flip).copy() if self.flip else array  # torch takes no negative strides

    def to_flax(self, array: np.ndarray, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """The Flax array of a torch array. shape: its shape, required if axes are merged."""
        ndim = array.ndim if shape is None else len(shape)
        order = [axis for group in self._groups(ndim) for axis in group]
        if self.flip:
            array = np.flip(array, self.flip)
        if shape is not None:
            array = array.reshape([shape[axis] for axis in order])
        return array.transpose(np.argsort(order))

    def _groups(self, ndim: int) -> list[tuple[int, ...]]:
        """For every torch axis, the Flax axes that it merges."""
        tuples = [axis if isinstance(axis, tuple | EllipsisType) else (axis,) for axis in self.axes]
        groups = [t if t is ... else tuple(a + ndim if a < 0 else a for a in t) for t in tuples]
        named = {axis for group in groups if group is not ... for axis in group}
        rest = [(axis,) for axis in range(ndim) if axis not in named]
        return [group for given in groups for group in (rest if given is ... else [given])]


SAME = Layout()
TRANSPOSED = Layout((1, 0))  # (in, out) -> (out, in)
CONV = Layout((-1, -2, ...))  # (kH, kW, I, O) -> (O, I, kH, kW), with any number of k
CHANNELS_FIRST = Layout((-1, ...))  # (H, W, C) -> (C, H, W)
SCALAR = Layout(((),))  # () -> (1,)
TO_HEADS = Layout(((1, 2), 0))  # (in, heads, head_dim) -> (heads * head_dim, in)
HEADS = Layout(((0, 1),))  # (heads, head_dim) -> (heads * head_dim,)
FROM_HEADS = Layout((2, (0, 1)))  # (heads, head_dim, out) -> (out, heads * head_dim)
IMAGES = Layout((0, 3, 1, 2))  # (N, H, W, C) -> (N, C, H, W)


def activation_layout(array: np.ndarray) -> Layout:
    """The layout of an activation: (N, H, W, C) -> (N, C, H, W); arrays of other ranks are the same."""
    return IMAGES if array.ndim == 4 else SAME
