"""Sums over every axis but the last, and their transposes: what biases and norms are made of.

XLA's CPU backend reduces the leading axes of an array at a tenth of the memory's speed; as a product
with a vector of ones the same sum is 5 to 14 times faster. The two functions are each other's
gradient, so that derivatives of any order take the fast form.
"""

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
    rows = x.reshape(-1, x.shape[-1])
    return jnp.matmul(
        jnp.ones(rows.shape[0], x.dtype),
        rows,
        precision="highest",
        preferred_element_type=jnp.float32 if x.dtype.itemsize == 2 else x.dtype,
    ).astype(x.dtype)


spread.defvjp(
    lambda values, shape: (spread(values, shape), None), lambda shape, _, g: (channel_sum(g, shape),)
)
channel_sum.defvjp(lambda x, shape: (channel_sum(x, shape), None), lambda shape, _, g: (spread(g, shape),))
