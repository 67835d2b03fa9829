"""Normalisations within one example, which keep no statistics: GroupNorm and LayerNorm."""

import math
from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from flax_models.layers.channels import spread


def group_mean(x, groups: int):
    """The mean of each group of adjacent channels over all places of one example, at each of its channels.

    (N, P, C) -> (N, 1, C). As products with ones, XLA's CPU backend sums up to 4 times faster.
    """
    return lax.platform_dependent(
        x, cpu=partial(_mean_as_products, groups=groups), default=partial(_mean_as_reductions, groups=groups)
    )


def _mean_as_reductions(x, groups: int):
    n, places, channels = x.shape
    mean = x.reshape(n, places, groups, channels // groups).mean((1, 3))
    return jnp.repeat(mean, channels // groups, axis=1)[:, None]


def _mean_as_products(x, groups: int):
    n, places, channels = x.shape
    wide = channels // groups
    total = jnp.ones((n, 1, places), x.dtype) @ x if places > 1 else x
    total = total.reshape(n * groups, wide) @ jnp.ones((wide, 1), x.dtype)
    return jnp.repeat((total / (places * wide)).reshape(n, groups), wide, axis=1)[:, None]


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def standardized(x, mean, scale, groups: int):
    """(x - mean) * scale, given each group's mean and 1/sqrt(var + eps): (N, P, C), (N, 1, C) twice.

    The gradient of x, in closed form, takes in that both are functions of x; theirs is zero.
    """
    return (x - mean) * scale


def _standardized_forward(x, mean, scale, groups):
    return standardized(x, mean, scale, groups), (x, mean, scale)


def _standardized_backward(groups, saved, g):
    x, mean, scale = saved
    unit = (x - mean) * scale
    return (g - group_mean(g, groups) - unit * group_mean(g * unit, groups)) * scale, None, None


standardized.defvjp(_standardized_forward, _standardized_backward)


def _normalized(x, groups: int, eps: float):
    """x (N, P, C) with every group at mean 0 and variance 1, in float32 at least."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    mean = group_mean(x, groups)
    return standardized(x, mean, lax.rsqrt(group_mean(jnp.square(x - mean), groups) + eps), groups)


class GroupNorm(nnx.Module):
    """Normalises each of num_groups groups of adjacent channels: (N, ..., C) -> (N, ..., C).

    Mean and biased variance go over a group's channels and all positions of one example.
    weight and bias are (C,). Wu & He 2018.

    Errors: ValueError where num_groups does not divide num_channels, for wrong channels, and where
    a group of the only example is a single value.
    """

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
        *, dtype=None, param_dtype=jnp.float32, rngs: nnx.Rngs | None = None,
    ):  # fmt: skip
        if num_groups < 1 or num_channels % num_groups:
            raise ValueError(f"num_groups={num_groups} must divide num_channels={num_channels}")
        self.num_groups, self.num_channels, self.eps, self.dtype = num_groups, num_channels, eps, dtype
        self.weight = nnx.Param(jnp.ones(num_channels, param_dtype)) if affine else None
        self.bias = nnx.Param(jnp.zeros(num_channels, param_dtype)) if affine else None

    def __call__(self, x):
        if x.ndim < 2 or x.shape[-1] != self.num_channels:
            raise ValueError(f"GroupNorm expects (N, ..., {self.num_channels}) input, got shape {x.shape}")
        if x.size == self.num_groups:
            raise ValueError(f"GroupNorm needs more than 1 value per group, got shape {x.shape}")
        y = _normalized(x.reshape(x.shape[0], -1, self.num_channels), self.num_groups, self.eps)
        y = y.reshape(x.shape)
        if self.weight is not None and self.bias is not None:
            y = y * spread(self.weight[...], y.shape) + spread(self.bias[...], y.shape)
        return y.astype(self.dtype or x.dtype)


class LayerNorm(nnx.Module):
    """Normalises over the trailing axes, which normalized_shape names; the shape is kept.

    - One or two sizes, F or (T, F), are the trailing axes of arrays that both frameworks hold
      alike: (..., F), (N, T, F). On pictures LayerNorm(C) therefore normalises over the channels
      of each pixel, which in torch takes a permutation to channels last around the layer.
    - Three or more are torch's (C, H, W), as after a convolution: like Flatten and Unflatten the
      layer takes torch's order, normalises (N, H, W, C) over all but N, and its weight and bias
      lie as (H, W, C).

    Mean and biased variance, eps inside the root. Ba et al. 2016.

    Errors: ValueError for an empty normalized_shape, and for input whose trailing axes differ.
    """

    def __init__(
        self, normalized_shape: int | Sequence[int], eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, *, dtype=None, param_dtype=jnp.float32, rngs: nnx.Rngs | None = None,
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

    def __call__(self, x):
        rank = len(self.trailing_shape)
        if x.shape[-rank:] != self.trailing_shape:
            expected = f"(..., {', '.join(map(str, self.trailing_shape))})"
            raise ValueError(
                f"LayerNorm({self.normalized_shape}) expects {expected} input, got shape {x.shape}"
            )
        y = _normalized(x.reshape(-1, 1, math.prod(self.trailing_shape)), 1, self.eps)
        if self.weight is not None:
            y = y * spread(self.weight[...].reshape(-1), y.shape)
        if self.bias is not None:
            y = y + spread(self.bias[...].reshape(-1), y.shape)
        return y.reshape(x.shape).astype(self.dtype or x.dtype)
