"""Convolutions as matrix products, for the shapes at which XLA's CPU backend convolves slowly.

A convolution is one matrix product over patches (im2col). Its input gradient is one product and a sum of
shifted pieces (col2im). Its weight gradient is one product per row of the kernel. XLA's own convolution is as
fast as torch's for most shapes. It is far slower for some kinds of shapes, which `benchmarks.layers` measures
(2 AVX-512 cores, ms; the last number of an example is the batch size). Eigen is XLA's library in jaxlib 0.10,
oneDNN the one in jaxlib 0.12:

    kind                                 example                       Eigen   oneDNN   product   torch
    outputs of at most 2x2               2x2x512 -> 512 k3 p1, 32      189     193      2         2
    one channel                          28x28x1 -> 16 k5 p2, 64       1.3     0.4      1.1       1.8
    input gradient, one channel          28x28x1 -> 32 k5, 128         9.8     5.2      1.6       4.6
    input gradient, up to four channels  64x64x3 -> 64 k3 p1, 16       5.8     3.3      1.6       4.1
    weight gradient, kernel 1x1          28x28x512 -> 256, 16          13      17       9         11
    weight gradient, up to four channels 28x28x1 -> 32 k5, 128         1.7     2.7      1.2       1.0

The input gradient of a strided convolution is also the forward pass of a transposed convolution. It is
computed by phases. A phase is the set of pixels of x whose row and column have the same remainders when they
are divided by the stride. All pixels of a phase are multiplied by the same part of the kernel.

`phases_together` computes all phases in one convolution. For this it pads the kernel to a multiple of the
stride, and it computes some pixels outside of the image, which it then removes. `phases_apart` computes one
convolution per phase, without superfluous values. With few channels each of these convolutions is small. On
the same cores, in ms:

    input gradient                            XLA   together   apart   torch
    8x8x256 -> 512 k4 s2 p1, 128                      69        48      41
    32x32x64 -> 128 k4 s2 p1, 128                     69        65      75
    64x64x3 -> 64 k4 s2 p1, 128                       12        48      37
    32x32x16 -> 32 k4 s2 p1, 128              36       4         7       7
    14x14x64 -> 128 k4 s2 p1, 128             13      11        10       8
    56x56x64 -> 128 k3 s2 p1, 16              16      19        13      13
    32x32x16 -> 32 k3 s2 p1, 32              1.6     1.0       0.9     0.8

Float64 is a fourth kind. XLA's CPU backend has no library for it and convolves with plain loops, 10 to 30
times slower than a product. If the patches are not too large, all three convolutions of float64 are products.

All forms need one group and padding that is not negative; the forms by phases also need dilation 1. Other
backends keep XLA's convolution.
"""

import platform
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import jaxlib.version
from jax import lax

from flax_models.layers.ops.products import matmul_input
from flax_models.layers.ops.shapes import Pair
from flax_models.layers.ops.windows import SlidingWindow, at_offset, fold, from_offset, offsets

# From jaxlib 0.11 on, XLA's CPU backend can give convolutions to oneDNN; train/backend.py asks for it.
ONEDNN = jaxlib.version.__version_info__ >= (0, 11) and platform.machine() in ("x86_64", "AMD64")
MOST_PATCHES = 2**26  # numbers in the patches of one convolution in float64: 512 MiB


class Geometry(NamedTuple):
    """All that a convolution needs besides its arrays. Every size is (height, width)."""

    input_size: Pair
    kernel_size: Pair
    stride: Pair
    padding: tuple[Pair, Pair]  # ((top, bottom), (left, right))
    dilation: Pair
    groups: int

    @property
    def output_size(self) -> Pair:
        height, width = (
            (size + low + high - dilation * (kernel - 1) - 1) // stride + 1
            for size, kernel, stride, (low, high), dilation in zip(
                self.input_size, self.kernel_size, self.stride, self.padding, self.dilation, strict=True
            )
        )
        return height, width


Form = Callable[[jax.Array, jax.Array, Geometry], jax.Array]


def forward_form(x: jax.Array, w: jax.Array, geometry: Geometry) -> Form | None:
    """The form of `conv2d` that is faster than XLA's; None if there is none."""
    if not _supported(geometry):
        return None
    one_channel = w.shape[2] == 1 and not ONEDNN
    products = _small_output(geometry) or one_channel or _is_slow(x, w.shape[2], geometry)
    return patches_forward if products else None


def input_form(y: jax.Array, w: jax.Array, geometry: Geometry) -> Form | None:
    """The form of `conv2d_input` that is faster than XLA's; None if there is none."""
    if not _supported(geometry):
        return None
    in_channels = w.shape[2]
    if _small_output(geometry) or in_channels == 1 or _is_slow(y, in_channels, geometry):
        return folded_input
    phases = max(geometry.stride) > 1 and geometry.dilation == (1, 1)
    # Padding to a multiple of the stride may add at most 1/4 to the kernel.
    whole = _area(_whole_kernel(geometry)) <= 1.25 * _area(geometry.kernel_size)
    if phases and whole and in_channels <= 16:
        return phases_together
    if in_channels <= 4:
        return folded_input
    covers = all(k >= s for k, s in zip(geometry.kernel_size, geometry.stride, strict=True))
    return phases_apart if phases and covers else None


def weight_form(x: jax.Array, y: jax.Array, geometry: Geometry) -> Form | None:
    """The form of `conv2d_weight` that is faster than XLA's; None if there is none."""
    if not _supported(geometry):
        return None
    in_channels, area = x.shape[3], _area(geometry.kernel_size)
    few_channels = ONEDNN and in_channels <= 4 and y.shape[3] > 16 and area <= 25
    return rows_weight if area == 1 or few_channels or _is_slow(x, in_channels, geometry) else None


def patches_forward(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The convolution as a product over patches: (N, H, W, C), (kH, kW, C, K) -> (N, OH, OW, K)."""
    cut = patches(x, geometry)
    return (_rows(cut) @ _rows(w)).reshape(*cut.shape[:3], w.shape[3])


def rows_weight(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """The weight gradient as a product per row of the kernel: (N, H, W, C), (N, OH, OW, K) -> (kH, kW, C, K).

    The patches contain the columns of the kernel only, so they are smaller than those of `patches_forward`.
    """
    (rows, columns), (s, t) = geometry.kernel_size, geometry.stride
    x = jnp.pad(x, ((0, 0), *geometry.padding, (0, 0)))
    across = geometry._replace(kernel_size=(1, columns), stride=(1, t))
    wide = _side_by_side(x, (x.shape[1], geometry.output_size[1]), across)
    down = geometry._replace(kernel_size=(rows, 1), stride=(s, 1))
    cuts = (at_offset(wide, offset, geometry.output_size, down) for offset in offsets(down))
    weight = jnp.stack([_rows(cut).T @ _rows(y) for cut in cuts])
    return weight.reshape(rows, columns, x.shape[3], y.shape[3])


def folded_input(y: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The input gradient as a product and a sum of pieces: (N, OH, OW, K), (kH, kW, C, K) -> (N, H, W, C)."""
    pieces = matmul_input(_rows(y), _rows(w))
    pieces = pieces.reshape(*y.shape[:3], -1, w.shape[2])  # (N, OH, OW, kH*kW, C)
    sizes = [
        size + low + high for size, (low, high) in zip(geometry.input_size, geometry.padding, strict=True)
    ]
    if geometry.stride == (
        1,
        1,
    ):  # the pieces are large, so it is faster not to pad all of them before the sum
        shifted = (
            from_offset(pieces[:, :, :, number], offset, sizes, geometry)
            for number, offset in enumerate(offsets(geometry))
        )
        total = cast(jax.Array, sum(shifted))
    else:
        total = fold(lambda number, pieces: pieces[:, :, :, number], (pieces,), sizes, geometry)
    (top, _), (left, _) = geometry.padding
    height, width = geometry.input_size
    return total[:, top : top + height, left : left + width]


def phases_together(y: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The input gradient as one convolution: (N, OH, OW, K), (kH, kW, C, K) -> (N, H, W, C).

    The convolution computes all stride*stride phases of x as separate channels; a transposition interleaves
    them. The textbook form inserts zeros between the values of y, so most of its multiplications are by zero.
    """
    (height, width), (rows, columns), (s, t) = geometry.input_size, _whole_kernel(geometry), geometry.stride
    *kernel_size, c, k = w.shape
    w = jnp.pad(w, ((0, rows - kernel_size[0]), (0, columns - kernel_size[1]), (0, 0), (0, 0)))
    w = w.reshape(rows // s, s, columns // t, t, c, k)[::-1, :, ::-1]
    w = w.transpose(0, 2, 5, 1, 3, 4).reshape(rows // s, columns // t, k, s * t * c)
    full = [(size - 1, size - 1) for size in (rows // s, columns // t)]
    x = lax.conv_general_dilated(y, w, (1, 1), full, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    n, high, wide, _ = x.shape
    x = x.reshape(n, high, wide, s, t, c).transpose(0, 1, 3, 2, 4, 5).reshape(n, high * s, wide * t, c)
    (top, _), (left, _) = geometry.padding
    x = x[:, top : top + height, left : left + width]
    # No window covers the last rows and columns: output_padding adds them, or the stride skips them. Their
    # gradient is 0.
    return jnp.pad(x, ((0, 0), (0, height - x.shape[1]), (0, width - x.shape[2]), (0, 0)))


def phases_apart(y: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The input gradient as stride*stride convolutions: (N, OH, OW, K), (kH, kW, C, K) -> (N, H, W, C).

    Each convolution computes one phase of x.
    """
    # If the kernel were smaller than the stride, some phases would have no part of the kernel.
    assert all(k >= s for k, s in zip(geometry.kernel_size, geometry.stride, strict=True))
    (n, *output_size, _), channels, strides = y.shape, w.shape[2], geometry.stride
    sizes = [-(-size // stride) for size, stride in zip(geometry.input_size, strides, strict=True)]
    w = w.transpose(0, 1, 3, 2)

    def part(axis: int, phase: int) -> tuple[slice, Pair]:
        """The slice of the kernel that belongs to a phase along an axis, and the padding of y."""
        stride = strides[axis]
        first, start = divmod(phase + geometry.padding[axis][0], stride)
        taken = slice(start, None, stride)
        taps = len(range(geometry.kernel_size[axis])[taken])
        return taken, (taps - 1 - first, sizes[axis] - output_size[axis] + first)

    def phase(i: int, j: int) -> jax.Array:
        (rows, vertical), (columns, horizontal) = part(0, i), part(1, j)
        kernel = w[rows, columns][::-1, ::-1]
        return lax.conv_general_dilated(
            y, kernel, (1, 1), (vertical, horizontal), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    phases = [jnp.stack([phase(i, j) for j in range(strides[1])], 3) for i in range(strides[0])]
    full = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    x = jnp.stack(phases, 2).reshape(n, *full, channels)
    return x[:, : geometry.input_size[0], : geometry.input_size[1]]


def patches(x: jax.Array, geometry: Geometry) -> jax.Array:
    """The window of x for every output pixel: (N, H, W, C) -> (N, OH, OW, kH*kW*C)."""
    x = jnp.pad(x, ((0, 0), *geometry.padding, (0, 0)))
    return _side_by_side(x, geometry.output_size, geometry)


def _side_by_side(x: jax.Array, output_size: Pair, window: SlidingWindow) -> jax.Array:
    """The values of every window of padded x side by side: (N, H, W, C) -> (N, OH, OW, kH*kW*C)."""
    return jnp.concatenate([at_offset(x, offset, output_size, window) for offset in offsets(window)], axis=3)


def _rows(array: jax.Array) -> jax.Array:
    return array.reshape(-1, array.shape[-1])


def _area(size: Pair) -> int:
    return size[0] * size[1]


def _whole_kernel(geometry: Geometry) -> Pair:
    """The kernel's size, rounded up to a multiple of the stride."""
    rows, columns = (-(-k // s) * s for k, s in zip(geometry.kernel_size, geometry.stride, strict=True))
    return rows, columns


def _supported(geometry: Geometry) -> bool:
    return geometry.groups == 1 and min(low_high for pair in geometry.padding for low_high in pair) >= 0


def _is_slow(array: jax.Array, in_channels: int, geometry: Geometry) -> bool:
    """Whether XLA convolves this array's dtype with plain loops, and the patches have few enough numbers."""
    numbers = array.shape[0] * in_channels * _area(geometry.output_size) * _area(geometry.kernel_size)
    return array.dtype == jnp.float64 and numbers <= MOST_PATCHES


def _small_output(geometry: Geometry) -> bool:
    return _area(geometry.output_size) <= 4
