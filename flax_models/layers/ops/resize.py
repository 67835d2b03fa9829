"""Resizing images: by one small matrix for the rows and one for the columns, or by the nearest pixel."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from flax_models.layers.ops.dtypes import at_least_float32


def resize(x: jax.Array, rows: np.ndarray, columns: np.ndarray) -> jax.Array:
    """x times both matrices: (N, H, W, C), (OH, H), (OW, W) -> (N, OH, OW, C), in float32 at least."""
    dtype = at_least_float32(x.dtype)
    y = x.astype(dtype)
    for equation, weights in (("oh,nhwc->nowc", rows), ("pw,nowc->nopc", columns)):
        y = jnp.einsum(equation, jnp.asarray(weights, dtype), y, precision=lax.Precision.HIGHEST)
    return y.astype(x.dtype)


def bilinear_weights(size: int, output: int, scale: float | None, align_corners: bool) -> np.ndarray:
    """The weight of each source pixel in each output pixel: (output, size)."""
    i = np.arange(output)
    if output == size:
        source = i.astype(float)
    elif align_corners:
        source = i * ((size - 1) / max(output - 1, 1))
    else:
        source = np.maximum((i + 0.5) * (1 / scale if scale else size / output) - 0.5, 0)
    low = np.minimum(source.astype(int), size - 1)
    high_weight = source - low
    weights = np.zeros((output, size))
    weights[i, low] += 1 - high_weight
    weights[i, np.minimum(low + 1, size - 1)] += high_weight
    return weights


def nearest_source(size: int, output: int, scale: float | None) -> np.ndarray:
    """The source pixel of each output pixel: (output,).

    torch computes equal and doubled sizes in integers, and all others in float32.
    """
    i = np.arange(output)
    if output in (size, 2 * size):
        return i * size // output
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(output)
    return np.minimum((i.astype(np.float32) * step).astype(int), size - 1)


def take(x: jax.Array, source: np.ndarray, axis: int) -> jax.Array:
    """x at the indices `source` of an axis. Whole repeats are a broadcast, whose gradient is a plain sum."""
    repeats, rest = divmod(len(source), x.shape[axis])
    if not rest and np.array_equal(source, np.arange(len(source)) // repeats):
        return jnp.repeat(x, repeats, axis)
    return jnp.take(x, source, axis)
