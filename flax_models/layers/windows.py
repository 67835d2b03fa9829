"""The places of a sliding window, one by one: what pooling and convolutions as products are made of.

`windows` is anything with kernel_size, stride and dilation, each (height, width).
"""

from itertools import product

import jax.numpy as jnp
from jax import lax

Pair = tuple[int, int]


def offsets(windows):
    """Every place of the window, row by row: (0, 0), (0, 1) ..."""
    return product(*map(range, windows.kernel_size))


def at_offset(x, offset: Pair, output_size: Pair, windows):
    """The value at one place of every window, from the padded x: (N, OH, OW, C)."""
    start = [o * d for o, d in zip(offset, windows.dilation, strict=True)]
    limit = [s + (n - 1) * t + 1 for s, n, t in zip(start, output_size, windows.stride, strict=True)]
    n, _, _, c = x.shape
    return lax.slice(x, (0, *start, 0), (n, *limit, c), (1, *windows.stride, 1))


def from_offset(g, offset: Pair, padded_size: Pair, windows):
    """The transpose of at_offset: every window's value put back in its place of the padded x."""
    spread = []
    for o, d, s, n, size in zip(
        offset, windows.dilation, windows.stride, g.shape[1:3], padded_size, strict=True
    ):
        low = o * d
        spread.append((low, size - low - ((n - 1) * s + 1), s - 1))
    return lax.pad(g, jnp.zeros((), g.dtype), ((0, 0, 0), *spread, (0, 0, 0)))
