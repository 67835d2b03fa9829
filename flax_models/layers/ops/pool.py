"""Sums and maxima over the windows of an image, with torch's windows and torch's gradients."""

from collections.abc import Sequence
from functools import reduce
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from flax_models.layers.ops.derivatives import custom_vjp
from flax_models.layers.ops.shapes import Pair
from flax_models.layers.ops.windows import at_offset, fold, offsets


class Windows(NamedTuple):
    """The sizes, strides and padding of pooling windows. Every size is (height, width)."""

    kernel_size: Pair
    stride: Pair
    padding: tuple[Pair, Pair]  # ((top, bottom), (left, right))
    dilation: Pair


@custom_vjp(nondiff_argnum=1)
def max_pool2d(x: jax.Array, windows: Windows) -> jax.Array:
    """The maximum of each window: (N, H, W, C) -> (N, OH, OW, C).

    The gradient goes to the first maximum of each window in torch's order, row by row. On the CPU the maximum
    of shifted slices is 3 to 6 times faster than XLA's window reduction. The gradient of that reduction
    (select-and-scatter) treats ties differently on different backends.
    """
    return reduce(jnp.maximum, _window_values(x, windows))


def _window_values(x: jax.Array, windows: Windows) -> list[jax.Array]:
    """x at every offset of the window, row by row: arrays (N, OH, OW, C)."""
    padded = jnp.pad(x, ((0, 0), *windows.padding, (0, 0)), constant_values=-jnp.inf)
    padded = lax.optimization_barrier(padded)
    size = _output_size(padded, windows)
    return [at_offset(padded, offset, size, windows) for offset in offsets(windows)]


def _output_size(padded: jax.Array, windows: Windows) -> Pair:
    height, width = (
        (size - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, dilation in zip(
            padded.shape[1:3], windows.kernel_size, windows.stride, windows.dilation, strict=True
        )
    )
    return height, width


def _max_pool2d_forward(x: jax.Array, windows: Windows):
    y = max_pool2d(x, windows)
    return y, (x, y)


def _max_pool2d_backward(windows: Windows, saved: tuple[jax.Array, jax.Array], g: jax.Array):
    x, y = saved
    # XLA may compute x, such as the output of a norm, once for y and again here, with another rounding. The
    # first maximum is therefore found without y: where no value equals y, the gradient would be lost.
    best, *values = _window_values(x, windows)
    first = jnp.zeros(y.shape, jnp.int32)
    for number, value in enumerate(values, 1):
        better = value > best
        best, first = jnp.where(better, value, best), jnp.where(better, number, first)
    first = jnp.where(jnp.isnan(y), -1, first)  # no offset, for a window of nan
    (top, bottom), (left, right) = windows.padding
    _, height, width, _ = x.shape
    total = fold(
        lambda number, g, first: jnp.where(first == number, g, 0), (g, first),
        (top + height + bottom, left + width + right), windows,
    )  # fmt: skip
    return (total[:, top : top + height, left : left + width],)


max_pool2d.defvjp(_max_pool2d_forward, _max_pool2d_backward)


def max_pool2d_indices(x: jax.Array, windows: Windows) -> jax.Array:
    """The index of each maximum, row * W + column in x: (N, H, W, C) -> (N, OH, OW, C) of int32.

    It is the first maximum, row by row, or the last nan if there is one, because this is how torch scans a
    window.
    """
    _, height, width, _ = x.shape
    padding = ((0, 0), *windows.padding, (0, 0))
    pixels = jnp.arange(height * width, dtype=jnp.int32).reshape(1, height, width, 1)
    pixels = jnp.pad(pixels, padding, constant_values=-1)
    padded = jnp.pad(x, padding, constant_values=-jnp.inf)
    output_size = _output_size(padded, windows)
    best, found = -jnp.inf, -1
    for offset in offsets(windows):
        value = at_offset(padded, offset, output_size, windows)
        pixel = at_offset(pixels, offset, output_size, windows)
        better = (pixel >= 0) & ((value > best) | jnp.isnan(value) | (found < 0))
        best, found = jnp.where(better, value, best), jnp.where(better, pixel, found)
    return cast(jax.Array, found)  # a window has at least one offset


def sum_pool2d(x: jax.Array, windows: Windows) -> jax.Array:
    """The sum of each window, with padding as zeros: (N, H, W, C) -> (N, OH, OW, C)."""
    zero = np.zeros((), x.dtype)
    return lax.reduce_window(
        x, zero, lax.add, (1, *windows.kernel_size, 1), (1, *windows.stride, 1),
        ((0, 0), *windows.padding, (0, 0)), window_dilation=(1, *windows.dilation, 1),
    )  # fmt: skip


def window_padding(
    sizes: Sequence[int], extents: Sequence[int], strides: Pair, paddings: Pair, ceil_mode: bool
) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)): the padding with which the windows are the same as torch's.

    extents: the sizes of the windows, with dilation. In ceil_mode the second number of a pair may be larger
    than the first; see MaxPool2d. Errors: ValueError for input smaller than the window.
    """
    padding = []
    for size, extent, stride, low in zip(sizes, extents, strides, paddings, strict=True):
        room = size + 2 * low - extent
        steps = room // stride
        if ceil_mode and room % stride and (steps + 1) * stride < size + low:
            steps += 1
        if steps < 0 or (room < 0 and not ceil_mode):
            raise ValueError(
                f"input of size {size} with padding {low} is smaller than the window of {extent}"
            )
        padding.append((low, max(low, steps * stride + extent - size - low)))
    vertical, horizontal = padding
    return vertical, horizontal


def window_counts(sizes: Sequence[int], windows: Windows, counted_padding: Pair) -> np.ndarray:
    """The number of pixels of each window that are in the image or its counted padding: (OH, OW)."""
    axes = []
    for size, kernel, stride, (low, high), counted in zip(
        sizes, windows.kernel_size, windows.stride, windows.padding, counted_padding, strict=True
    ):
        start = np.arange(0, low + size + high - kernel + 1, stride) - low
        axes.append(np.minimum(start + kernel, size + counted) - np.maximum(start, -counted))
    return np.outer(*axes)
