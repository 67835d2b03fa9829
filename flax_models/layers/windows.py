"""The places of a sliding window, one by one: what pooling and convolutions as products are made of.

`windows` is anything with kernel_size, stride and dilation, each (height, width).
"""

from collections import defaultdict
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
    """The transpose of at_offset at stride 1: every window's value put back in its place of the padded x."""
    spread = []
    for o, d, n, size in zip(offset, windows.dilation, g.shape[1:3], padded_size, strict=True):
        spread.append((o * d, size - o * d - n))
    return jnp.pad(g, ((0, 0), *spread, (0, 0)))


def fold(term, arrays, padded_size: Pair, windows):
    """Values of windows added up in their places of the padded x: (N, *padded_size, C).

    arrays: one or more of (N, OH, OW, ...). term(number, *shifted) is what place `number` of the window
    adds, from the arrays moved to where they go; beyond the outermost windows they are zero.

    The places that share their remainder by the stride make one phase of the result; the phases are
    summed apart and interleaved at the end. (Padding zeros between the values of each place, and adding
    those up, is what XLA's CPU backend computes 5 to 10 times slower.)
    """
    size = [-(-n // s) for n, s in zip(padded_size, windows.stride, strict=True)]  # of one phase
    phases = defaultdict(list)
    for number, offset in enumerate(offsets(windows)):
        places = [o * d for o, d in zip(offset, windows.dilation, strict=True)]
        shift, phase = zip(*map(divmod, places, windows.stride), strict=True)
        phases[phase].append((number, shift))
    top, left = (
        max(shifts) for shifts in zip(*(s for terms in phases.values() for _, s in terms), strict=True)
    )
    n, height, width = arrays[0].shape[:3]
    around = ((0, 0), (top, size[0] - height), (left, size[1] - width))
    arrays = lax.optimization_barrier(
        [jnp.pad(array, (*around, *((0, 0),) * (array.ndim - 3))) for array in arrays]
    )

    def shifted(down: int, right: int):
        rows, columns = slice(top - down, top - down + size[0]), slice(left - right, left - right + size[1])
        return [array[:, rows, columns] for array in arrays]

    sums = {
        phase: sum(term(number, *shifted(*shift)) for number, shift in terms)
        for phase, terms in phases.items()
    }
    zero = jnp.zeros_like(sums[0, 0])
    (s, t), channels = windows.stride, zero.shape[3]
    rows = [jnp.stack([sums.get((i, j), zero) for j in range(t)], 3) for i in range(s)]
    total = jnp.stack(lax.optimization_barrier(rows), 2).reshape(n, size[0] * s, size[1] * t, channels)
    return total[:, : padded_size[0], : padded_size[1]]
