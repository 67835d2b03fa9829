"""Sums over every axis but the last, and their transposes: what biases and norms are made of.

XLA's CPU backend reduces the leading axes of an array at a tenth of the memory's speed; as a product
with a vector of ones the same sum is 4 to 12 times faster (24x24x32, batch 128: 3.9 ms against 0.33).
The two functions are each other's gradient, so that derivatives of any order take the fast form.
"""

import math
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

Shape = tuple[int, ...]


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def spread(values, shape: Shape):
    """(C,) -> shape, which ends in C: the same values at every place."""
    return jnp.broadcast_to(values, shape)


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def channel_sum(x, shape: Shape):
    """x, of this shape (..., C) -> (C,): the sum over every axis but the last."""
    return lax.platform_dependent(x, cpu=_as_product, default=_as_reduction)


def _as_reduction(x):
    return x.sum(range(x.ndim - 1))


def _as_product(x):
    places, channels = math.prod(x.shape[:-1]), x.shape[-1]
    # Summed apart first: rounding grows with the length of one sum. With many channels, long rows are slow.
    groups = math.gcd(places, 64 if channels < 512 else 8)
    dtype = jnp.promote_types(x.dtype, jnp.float32)
    rows = x.reshape(places // groups, groups * channels).astype(dtype)
    total = jnp.matmul(jnp.ones(rows.shape[0], dtype), rows, precision="highest")
    return total.reshape(groups, channels).sum(0).astype(x.dtype)


spread.defvjp(
    lambda values, shape: (spread(values, shape), None), lambda shape, _, g: (channel_sum(g, shape),)
)
channel_sum.defvjp(lambda x, shape: (channel_sum(x, shape), None), lambda shape, _, g: (spread(g, shape),))
