"""Sums over all axes but the last, and the broadcasts that transpose them, for biases and norms.

XLA's CPU backend reduces the leading axes of an array at a tenth of the memory's bandwidth. The same sum as
a product with a vector of ones is 4 to 12 times faster (24x24x32, batch 128: 3.9 ms against 0.33). Each of
the two functions is the gradient of the other, so derivatives of every order use the fast form.
"""

import math

import jax
import jax.numpy as jnp
from jax import lax

from flax_models.layers.ops.derivatives import custom_vjp
from flax_models.layers.ops.dtypes import at_least_float32

Shape = tuple[int, ...]


@custom_vjp(nondiff_argnum=1)
def broadcast_channels(values: jax.Array, shape: Shape) -> jax.Array:
    """The values of the channels repeated for every pixel: (C,) -> shape, which ends in C."""
    return jnp.broadcast_to(values, shape)


@custom_vjp(nondiff_argnum=1)
def channel_sum(x: jax.Array, shape: Shape) -> jax.Array:
    """The sum over all axes but the last: (..., C) -> (C,). `shape` is the shape of x."""
    return lax.platform_dependent(x, cpu=_sum_as_product, default=_sum_as_reduction)


def _sum_as_reduction(x: jax.Array) -> jax.Array:
    return x.sum(range(x.ndim - 1))


def _sum_as_product(x: jax.Array) -> jax.Array:
    pixels, channels = math.prod(x.shape[:-1]), x.shape[-1]
    # Rounding errors grow with the length of one sum, so groups of rows are summed separately first. With
    # many channels, long rows are slow.
    groups = math.gcd(pixels, 64 if channels < 512 else 8)
    dtype = at_least_float32(x.dtype)
    rows = x.reshape(pixels // groups, groups * channels).astype(dtype)
    total = jnp.matmul(jnp.ones(rows.shape[0], dtype), rows, precision="highest")
    return total.reshape(groups, channels).sum(0).astype(x.dtype)


broadcast_channels.defvjp(
    lambda values, shape: (broadcast_channels(values, shape), None),
    lambda shape, _, g: (channel_sum(g, shape),),
)
channel_sum.defvjp(
    lambda x, shape: (channel_sum(x, shape), None),
    lambda shape, _, g: (broadcast_channels(g, shape),),
)
