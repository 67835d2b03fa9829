"""The independent random keys of a seed, and the order of the examples in an epoch."""

from functools import partial

import jax
import jax.numpy as jnp

ORDER, NOISE, IMAGES, AUGMENT = range(4)
"""The uses of randomness in a run.

In this order: the order of the data, the noise of a training step, the latents of saved images, and the
transforms.
"""


def rng_key(seed: int, use: int) -> jax.Array:
    """The key of a seed for one of the uses, such as ORDER."""
    return jax.random.fold_in(jax.random.key(seed), use)


@partial(jax.jit, static_argnums=(2, 3))
def epoch_order(seed: int, epoch: int, size: int, shuffle: bool = True) -> jax.Array:
    """(size,) int32: a new permutation for every (seed, epoch), or the rows in order without `shuffle`."""
    if not shuffle:
        return jnp.arange(size)
    return jax.random.permutation(jax.random.fold_in(rng_key(seed, ORDER), epoch), size)
