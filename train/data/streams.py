"""The independent streams of randomness that one seed stands for, and the order of an epoch."""

from functools import partial

import jax
import jax.numpy as jnp

ORDER, NOISE, PICTURES, AUGMENT = range(4)


def stream(seed, which: int) -> jax.Array:
    """The key of one of the independent streams that a seed stands for."""
    return jax.random.fold_in(jax.random.key(seed), which)


@partial(jax.jit, static_argnums=(2, 3))
def epoch_order(seed, epoch, size: int, shuffle: bool = True) -> jax.Array:
    """(size,) int32: a new permutation for every (seed, epoch), or the rows in order."""
    if not shuffle:
        return jnp.arange(size)
    return jax.random.permutation(jax.random.fold_in(stream(seed, ORDER), epoch), size)
