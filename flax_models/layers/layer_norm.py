"""Normalisations within one example, which keep no statistics: GroupNorm and LayerNorm."""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import DTypeLike

from flax_models.layers.ops.channels import broadcast_channels
from flax_models.layers.ops.norm import group_standardize


class GroupNorm(nnx.Module):
    """Normalises each of num_groups groups of adjacent channels: (N, ..., C) -> (N, ..., C).

    Mean and biased variance are taken over a group's channels and all pixels of one example. weight and bias
    are (C,). Wu & He 2018.

    Errors: ValueError if num_groups does not divide num_channels, for wrong channels, and if a group of the
    only example is a single value.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs | None = None,
    ):  # fmt: skip
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"num_groups={num_groups} must divide num_channels={num_channels}")
        self.num_groups, self.num_channels, self.eps, self.dtype = num_groups, num_channels, eps, dtype
        self.weight = nnx.Param(jnp.ones(num_channels, param_dtype)) if affine else None
        self.bias = nnx.Param(jnp.zeros(num_channels, param_dtype)) if affine else None

    def __call__(self, x: jax.Array) -> jax.Array:
        if x.ndim < 2 or x.shape[-1] != self.num_channels:
            raise ValueError(f"GroupNorm expects (N, ..., {self.num_channels}) input, got shape {x.shape}")
        if x.size == self.num_groups:
            raise ValueError(f"GroupNorm needs more than 1 value per group, got shape {x.shape}")
        y = group_standardize(x.reshape(x.shape[0], -1, self.num_channels), self.num_groups, self.eps)
        y = y.reshape(x.shape)
        if self.weight is not None and self.bias is not None:
            y = y * broadcast_channels(self.weight[...], y.shape)
            y = y + broadcast_channels(self.bias[...], y.shape)
        return y.astype(self.dtype or x.dtype)


class LayerNorm(nnx.Module):
    """Normalises over the trailing axes, whose sizes are normalized_shape; the output has the input's shape.

    - One or two sizes, F or (T, F), are the trailing axes of arrays that have the same layout in both
      frameworks: (..., F) or (N, T, F). On images LayerNorm(C) therefore normalises over the channels of each
      pixel. In torch this needs a permutation to channels last around the layer.
    - Three or more sizes are torch's (C, H, W), as after a convolution. Like Flatten and Unflatten the layer
      takes torch's order. It normalises (N, H, W, C) over all axes but N; weight and bias are (H, W, C).

    The variance is biased, and eps is inside the root. Ba et al. 2016.

    Errors: ValueError for an empty normalized_shape, and for input whose trailing axes differ.
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs | None = None,
    ):  # fmt: skip
        shape = (normalized_shape,) if isinstance(normalized_shape, int) else tuple(normalized_shape)
        if not shape or min(shape) < 1:
            raise ValueError(f"normalized_shape must name at least one positive size, got {normalized_shape}")
        self.normalized_shape = shape
        self.trailing_shape = (*shape[1:], shape[0]) if len(shape) > 2 else shape
        self.eps, self.dtype = eps, dtype
        affine = elementwise_affine
        self.weight = nnx.Param(jnp.ones(self.trailing_shape, param_dtype)) if affine else None
        self.bias = nnx.Param(jnp.zeros(self.trailing_shape, param_dtype)) if affine and bias else None

    def __call__(self, x: jax.Array) -> jax.Array:
        rank = len(self.trailing_shape)
        if x.shape[-rank:] != self.trailing_shape:
            expected = f"(..., {', '.join(map(str, self.trailing_shape))})"
            raise ValueError(
                f"LayerNorm({self.normalized_shape}) expects {expected} input, got shape {x.shape}"
            )
        y = group_standardize(x.reshape(-1, 1, math.prod(self.trailing_shape)), 1, self.eps)
        if self.weight is not None:
            y = y * broadcast_channels(self.weight[...].reshape(-1), y.shape)
        if self.bias is not None:
            y = y + broadcast_channels(self.bias[...].reshape(-1), y.shape)
        return y.reshape(x.shape).astype(self.dtype or x.dtype)
