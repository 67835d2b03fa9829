"""Pooling with torch's windows and torch's gradients, on NHWC arrays."""

from functools import partial
from itertools import product
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from flax_models.layers.conv import Size, pair


class Windows(NamedTuple):
    """Where the pooling windows lie. All sizes are (height, width)."""

    kernel_size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]  # ((top, bottom), (left, right))
    dilation: tuple[int, int]


def _at_offset(x, offset: tuple[int, int], output_size: tuple[int, int], windows: Windows):
    """The value at one place of every window, from the padded x: (N, OH, OW, C)."""
    start = [o * d for o, d in zip(offset, windows.dilation, strict=True)]
    limit = [s + (n - 1) * t + 1 for s, n, t in zip(start, output_size, windows.stride, strict=True)]
    n, _, _, c = x.shape
    return lax.slice(x, (0, *start, 0), (n, *limit, c), (1, *windows.stride, 1))


def _from_offset(g, offset: tuple[int, int], padded_size: tuple[int, int], windows: Windows):
    """The transpose of _at_offset: every window's value put back in its place of the padded x."""
    spread = []
    for o, d, s, n, size in zip(
        offset, windows.dilation, windows.stride, g.shape[1:3], padded_size, strict=True
    ):
        low = o * d
        spread.append((low, size - low - ((n - 1) * s + 1), s - 1))
    return lax.pad(g, jnp.zeros((), g.dtype), ((0, 0, 0), *spread, (0, 0, 0)))


@partial(jax.custom_vjp, nondiff_argnums=(1,))
def max_pool2d(x, windows: Windows):
    """(N, H, W, C) -> (N, OH, OW, C); the gradient goes to the first maximum of each window.

    "First" is torch's: row by row. XLA's own gradient (select-and-scatter) is 15 times slower on
    the CPU than comparing with the maximum, and leaves ties to the backend.
    """
    return lax.reduce_window(
        x, -jnp.inf, lax.max, (1, *windows.kernel_size, 1), (1, *windows.stride, 1),
        ((0, 0), *windows.padding, (0, 0)), window_dilation=(1, *windows.dilation, 1),
    )  # fmt: skip


def _max_pool2d_forward(x, windows: Windows):
    y = max_pool2d(x, windows)
    return y, (x, y)


def _max_pool2d_backward(windows: Windows, saved, g):
    x, y = saved
    padding = ((0, 0), *windows.padding, (0, 0))
    padded = jnp.pad(x, padding, constant_values=-jnp.inf)
    taken = jnp.zeros(y.shape, bool)
    total = jnp.zeros(padded.shape, g.dtype)
    for offset in product(*map(range, windows.kernel_size)):
        first = (_at_offset(padded, offset, y.shape[1:3], windows) == y) & ~taken
        taken |= first
        total += _from_offset(jnp.where(first, g, 0), offset, padded.shape[1:3], windows)
    inside = tuple(slice(low, low + n) for (low, _), n in zip(padding, x.shape, strict=True))
    return (total[inside],)


max_pool2d.defvjp(_max_pool2d_forward, _max_pool2d_backward)


class MaxPool2d(nnx.Module):
    """The maximum of each window: (N, H, W, C) -> (N, OH, OW, C).

    stride defaults to the kernel; padding is symmetric, at most half the kernel, and never the
    maximum; ceil_mode keeps a last window that begins inside the picture but ends outside.

    Errors: ValueError for arguments that torch refuses and for inputs smaller than the window.
    """

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
        ceil_mode: bool = False,
    ):  # fmt: skip
        self.kernel_size = pair(kernel_size)
        self.stride = pair(kernel_size if stride is None else stride)
        self.padding, self.dilation, self.ceil_mode = pair(padding), pair(dilation), ceil_mode
        if any(p < 0 or p > k // 2 for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"padding {self.padding} must be at most half of the kernel {self.kernel_size}")

    def __call__(self, x):
        if x.ndim != 4:
            raise ValueError(f"MaxPool2d expects (N, H, W, C) input, got shape {x.shape}")
        extents = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        padding = window_padding(x.shape[1:3], extents, self.stride, self.padding, self.ceil_mode)
        return max_pool2d(x, Windows(self.kernel_size, self.stride, padding, self.dilation))


def window_padding(sizes, extents, strides, paddings, ceil_mode: bool):
    """((low, high), ...) so that windows of `extents` cover what torch's would; see MaxPool2d."""
    padding = []
    for size, extent, stride, low in zip(sizes, extents, strides, paddings, strict=True):
        room = size + 2 * low - extent
        steps = room // stride
        if ceil_mode and room % stride and (steps + 1) * stride < size + low:
            steps += 1
        if steps < 0 or room < 0 and not ceil_mode:
            raise ValueError(f"input of size {size} with padding {low} is smaller than the window of {extent}")
        padding.append((low, max(low, steps * stride + extent - size - low)))
    return tuple(padding)
