"""Batches from data that lives on the device, as a pure function of (seed, step).

The whole split is put on the device once, as uint8. An epoch's order is drawn once, by
`epoch_order`; a step then only gathers its rows, inside the jitted step.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ORDER, NOISE, PICTURES = range(3)  # independent streams of one seed


class Resident(NamedTuple):
    """The split's arrays on the device, all with N rows."""

    arrays: dict[str, jax.Array]
    batch_size: int
    shuffle: bool
    seed: int

    @property
    def size(self) -> int:
        return next(iter(self.arrays.values())).shape[0]

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches only: the rows left over take part in another epoch's order."""
        return self.size // self.batch_size

    def order_at(self, step: int) -> jax.Array:
        """The epoch's order, (N,) int32, for the epoch that `step` lies in."""
        epoch = step // self.steps_per_epoch
        return epoch_order(self.seed, epoch, self.size, self.shuffle)


def resident(arrays: dict[str, np.ndarray], *, batch_size: int, shuffle: bool, seed: int) -> Resident:
    """Puts arrays on the device. ValueError where a batch does not fit into them."""
    size = len(next(iter(arrays.values())))
    if not 1 <= batch_size <= size:
        raise ValueError(f"batch_size must be from 1 to the data set's {size} examples, got {batch_size}")
    return Resident({k: jnp.asarray(v) for k, v in arrays.items()}, batch_size, shuffle, seed)


def stream(seed, which: int) -> jax.Array:
    """The key of one of the independent streams that a seed stands for."""
    return jax.random.fold_in(jax.random.key(seed), which)


@partial(jax.jit, static_argnums=(2, 3))
def epoch_order(seed, epoch, size: int, shuffle: bool) -> jax.Array:
    """(size,) int32: a new permutation for every (seed, epoch), or the rows in order."""
    if not shuffle:
        return jnp.arange(size)
    return jax.random.permutation(jax.random.fold_in(stream(seed, ORDER), epoch), size)


def gather(arrays: dict[str, jax.Array], order: jax.Array, position, batch_size: int):
    """The batch that begins at row `position` of the order: {name: (batch_size, ...)}."""
    rows = jax.lax.dynamic_slice(order, (position,), (batch_size,))
    return {name: array[rows] for name, array in arrays.items()}


def normalize(images: jax.Array, dtype=jnp.float32) -> jax.Array:
    """uint8 in 0..255 -> [-1, 1]; images that are numbers already pass unchanged."""
    return images.astype(dtype) / 127.5 - 1 if images.dtype == jnp.uint8 else images
