"""Pooling to a given size: output i covers the rows floor(i*H/OH) to ceil((i+1)*H/OH)."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from flax_models.layers.ops.pool import Windows, max_pool2d, max_pool2d_indices
from flax_models.layers.ops.resize import resize

OutputSize = tuple[int | None, int | None]  # None keeps the input's size
Bounds = tuple[np.ndarray, np.ndarray]  # where each window along an axis begins, and where it ends


def adaptive_avg_pool2d(x: jax.Array, output_size: OutputSize) -> jax.Array:
    """The mean of each window: (N, H, W, C) -> (N, *output_size, C)."""
    averages = []
    for size, (start, end) in zip(x.shape[1:3], _window_bounds(x.shape[1:3], output_size), strict=True):
        pixel = np.arange(size)
        inside = (pixel >= start[:, None]) & (pixel < end[:, None])
        averages.append(inside / (end - start)[:, None])
    return resize(x, *averages)


def adaptive_max_pool2d(
    x: jax.Array, output_size: OutputSize, return_indices: bool
) -> jax.Array | tuple[jax.Array, jax.Array]:
    """The maximum of each window: (N, H, W, C) -> (N, *output_size, C), or (values, indices).

    The gradient goes to the first maximum, row by row. An index is row * W + column.
    """
    bounds = _window_bounds(x.shape[1:3], output_size)
    if windows := _regular_windows(bounds):  # max_pool2d is several times faster
        y = max_pool2d(x, windows)
        return (y, max_pool2d_indices(x, windows)) if return_indices else y
    rows, columns = (_pixels(start, end) for start, end in bounds)  # (OH, K), (OW, L)
    pixels = rows[:, None, :, None] * x.shape[2] + columns[None, :, None, :]  # (OH, OW, K, L)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    n, _, _, c = x.shape
    values = x.reshape(n, -1, c)[:, pixels]  # (N, OH, OW, K*L, C)
    first = jnp.argmax(values, axis=3, keepdims=True)
    y = jnp.take_along_axis(values, first, axis=3).squeeze(3)
    if not return_indices:
        return y
    indices = jnp.asarray(pixels, jnp.int32)[None, ..., None]
    return y, jnp.take_along_axis(indices, first, axis=3).squeeze(3)


def _window_bounds(sizes: Sequence[int], output_size: OutputSize) -> list[Bounds]:
    """The windows along the height and along the width."""
    bounds = []
    for size, wanted in zip(sizes, output_size, strict=True):
        output = size if wanted is None else wanted
        i = np.arange(output)
        bounds.append((i * size // output, -(-(i + 1) * size // output)))
    return bounds


def _regular_windows(bounds: list[Bounds]) -> Windows | None:
    """The same windows for max_pool2d, if all have one size and one distance; otherwise None."""
    sizes, strides = [], []
    for start, end in bounds:
        stride = start[1] if len(start) > 1 else end[0]
        if (start != stride * np.arange(len(start))).any() or (end - start != end[0]).any():
            return None
        sizes.append(int(end[0]))
        strides.append(int(stride))
    return Windows((sizes[0], sizes[1]), (strides[0], strides[1]), ((0, 0), (0, 0)), (1, 1))


def _pixels(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The pixels of each window, (windows, longest). A shorter window repeats its last pixel."""
    return np.minimum(start[:, None] + np.arange((end - start).max()), end[:, None] - 1)
