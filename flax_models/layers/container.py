"""Sequential, and the two reshapes that use torch's (C, H, W) order: Flatten and Unflatten."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from flax import nnx

from flax_models.layers.ops.shapes import channels_first, channels_last


class Sequential(nnx.List):
    """Calls its modules in order. A child's path is its number, as in torch: `fc.0.weight`."""

    def __init__(self, *modules: Callable[..., Any]):
        super().__init__(modules)

    def __call__(self, x: Any) -> Any:
        for module in self:
            x = module(x)
        return x


class Flatten(nnx.Module):
    """Flattens each example in torch's order: (N, H, W, C) -> (N, C*H*W), (N, L, C) -> (N, C*L).

    A Linear after it therefore has torch's weights, column for column. (N, C) passes unchanged.
    """

    def __call__(self, x: jax.Array) -> jax.Array:
        return channels_first(x).reshape(x.shape[0], -1)


class Unflatten(nnx.Module):
    """Undoes Flatten: (N, C*H*W) -> (N, H, W, C), where `unflattened_size` is torch's (C, H, W).

    Errors: ValueError if dim is not 1, or if the product of the sizes is not the number of features.
    """

    def __init__(self, dim: int, unflattened_size: Sequence[int]):
        if dim != 1:
            raise ValueError(f"Unflatten unflattens dimension 1, the features; got dim={dim}")
        self.unflattened_size = tuple(unflattened_size)

    def __call__(self, x: jax.Array) -> jax.Array:
        if x.shape[1:] != (math.prod(self.unflattened_size),):
            raise ValueError(f"Unflatten: {x.shape[1:]} features do not make {self.unflattened_size}")
        return channels_last(x.reshape(x.shape[0], *self.unflattened_size))
