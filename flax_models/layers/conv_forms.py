"""Convolutions as matrix products, for the shapes at which XLA's CPU backend convolves slowly.

A convolution is one matrix product over patches (im2col), its input gradient one product and a sum of
shifted pieces (col2im). XLA's own convolution is level with torch's at most shapes and falls far
behind at three kinds, which `benchmarks.layers` measures (2 AVX-512 cores, ms; the number last is the batch):

    kind                          example                      XLA     product   torch
    outputs of at most 2x2        2x2x512 -> 512 k3 p1, 32     167     8         5
    one channel                   28x28x1 -> 32 k5, 128        15      4         9    (input gradient)
    up to four channels           64x64x3 -> 64 k3 p1, 16      19      2         9    (input gradient)

A strided convolution's input gradient, which is a transposed convolution's forward pass, goes by phases
where the kernel is, nearly, a whole number of strides (64x64x3 -> 64 k11 s4 p2, batch 32: 3 to 15 ms
against 11 to 28 by XLA and 17 to 19 as a product, on loaded cores).

Only one group and no negative padding is handled here. Other backends keep XLA's form.
"""

import jax.numpy as jnp
from jax import lax

from flax_models.layers.products import rows_times_transposed
from flax_models.layers.windows import at_offset, fold, from_offset, offsets


def forward_as_product(in_channels: int, geometry) -> bool:
    """Whether `patches_forward` is the faster form."""
    return _plain(geometry) and (_tiny(geometry) or in_channels == 1)


def input_as_product(in_channels: int, geometry) -> bool:
    """Whether `folded_input` is the faster form."""
    few = in_channels == 1 or (in_channels <= 4 and not input_by_phases(geometry))
    return _plain(geometry) and (_tiny(geometry) or few)


def input_by_phases(geometry) -> bool:
    """Whether `phased_input` is the faster form: rounding the kernel up to whole strides adds at most 1/4."""
    whole = _places(_whole_kernel(geometry)) <= 1.25 * _places(geometry.kernel_size)
    return _plain(geometry) and whole and max(geometry.stride) > 1 and geometry.dilation == (1, 1)


def weight_as_product(in_channels: int, geometry) -> bool:
    """Whether `patches_weight` is the faster form."""
    return _plain(geometry) and (in_channels == 1 or geometry.kernel_size == (1, 1))


def patches_forward(x, w, geometry):
    """(N, H, W, C), (kH, kW, C, K) -> (N, OH, OW, K)."""
    cut = patches(x, geometry)
    return (_rows(cut) @ _rows(w)).reshape(*cut.shape[:3], w.shape[3])


def patches_weight(x, y, geometry):
    """(N, H, W, C), (N, OH, OW, K) -> (kH, kW, C, K)."""
    weight = _rows(patches(x, geometry)).T @ _rows(y)
    return weight.reshape(*geometry.kernel_size, x.shape[3], y.shape[3])


def folded_input(y, w, geometry):
    """(N, OH, OW, K), (kH, kW, C, K) -> (N, H, W, C)."""
    pieces = rows_times_transposed(_rows(y), _rows(w))
    pieces = pieces.reshape(*y.shape[:3], -1, w.shape[2])  # (N, OH, OW, kH*kW, C)
    sizes = [
        size + low + high for size, (low, high) in zip(geometry.input_size, geometry.padding, strict=True)
    ]
    if geometry.stride == (1, 1):  # the pieces are large: one pass over them is faster than padding them all
        total = sum(
            from_offset(pieces[:, :, :, number], offset, sizes, geometry)
            for number, offset in enumerate(offsets(geometry))
        )
    else:
        total = fold(lambda number, pieces: pieces[:, :, :, number], (pieces,), sizes, geometry)
    (top, _), (left, _) = geometry.padding
    height, width = geometry.input_size
    return total[:, top : top + height, left : left + width]


def phased_input(y, w, geometry):
    """The same, as one convolution that makes all stride*stride phases of x beside each other.

    Dilating y with zeros, as the definition has it, would multiply mostly by zero.
    """
    (height, width), (rows, columns), (s, t) = geometry.input_size, _whole_kernel(geometry), geometry.stride
    *given, c, k = w.shape
    w = jnp.pad(w, ((0, rows - given[0]), (0, columns - given[1]), (0, 0), (0, 0)))
    w = w.reshape(rows // s, s, columns // t, t, c, k)[::-1, :, ::-1]
    w = w.transpose(0, 2, 5, 1, 3, 4).reshape(rows // s, columns // t, k, s * t * c)
    full = [(rows // s - 1,) * 2, (columns // t - 1,) * 2]
    x = lax.conv_general_dilated(y, w, (1, 1), full, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    n, high, wide, _ = x.shape
    x = x.reshape(n, high, wide, s, t, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, high * s, wide * t, c)
    (top, _), (left, _) = geometry.padding
    x = x[:, top : top + height, left : left + width]
    # Rows that no place of y reaches: what output_padding adds, or what the stride steps over.
    return jnp.pad(x, ((0, 0), (0, height - x.shape[1]), (0, width - x.shape[2]), (0, 0)))


def patches(x, geometry):
    """(N, H, W, C) -> (N, OH, OW, kH*kW*C): what the kernel sees at every place of the output."""
    x = jnp.pad(x, ((0, 0), *geometry.padding, (0, 0)))
    pieces = [at_offset(x, offset, geometry.output_size, geometry) for offset in offsets(geometry)]
    return jnp.concatenate(pieces, axis=3)


def _rows(array):
    return array.reshape(-1, array.shape[-1])


def _places(size: tuple[int, int]) -> int:
    return size[0] * size[1]


def _whole_kernel(geometry) -> tuple[int, int]:
    """The kernel's size, rounded up to whole strides."""
    rows, columns = (-(-k // s) * s for k, s in zip(geometry.kernel_size, geometry.stride, strict=True))
    return rows, columns


def _plain(geometry) -> bool:
    return geometry.groups == 1 and min(low_high for pair in geometry.padding for low_high in pair) >= 0


def _tiny(geometry) -> bool:
    return _places(geometry.output_size) <= 4
