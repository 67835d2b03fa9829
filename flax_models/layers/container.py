"""Sequential, and the two reshapes that go through torch's (C, H, W) order."""

import math
from collections.abc import Sequence

from flax import nnx


class Sequential(nnx.List):
    """Calls its modules in order. A child's path is its number, as in torch: `fc.0.weight`."""

    def __init__(self, *modules):
        super().__init__(modules)

    def __call__(self, x):
        for module in self:
            x = module(x)
        return x


class Flatten(nnx.Module):
    """(N, H, W, C) -> (N, C*H*W) and (N, L, C) -> (N, C*L): torch's order of the features.

    A Linear after it therefore has torch's weights, column for column. (N, C) passes unchanged.
    """

    def __call__(self, x):
        return channels_first(x).reshape(x.shape[0], -1)


class Unflatten(nnx.Module):
    """(N, C*H*W) -> (N, H, W, C), where `unflattened_size` is torch's (C, H, W).

    Errors: ValueError where dim is not 1 or the sizes do not multiply to the input's features.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]):
        if dim != 1:
            raise ValueError(f"Unflatten unflattens dimension 1, the features; got dim={dim}")
        self.unflattened_size = tuple(unflattened_size)

    def __call__(self, x):
        if x.shape[1:] != (math.prod(self.unflattened_size),):
            raise ValueError(f"Unflatten: {x.shape[1:]} features do not make {self.unflattened_size}")
        return channels_last(x.reshape(x.shape[0], *self.unflattened_size))


def channels_first(x):
    """(N, ..., C) -> (N, C, ...)."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1)) if x.ndim > 2 else x


def channels_last(x):
    """(N, C, ...) -> (N, ..., C)."""
    return x.transpose(0, *range(2, x.ndim), 1) if x.ndim > 2 else x
