"""Convolutions as matrix products, for the shapes at which XLA's CPU backend convolves slowly.

A convolution is one matrix product over patches (im2col), its input gradient one product and a sum of
shifted pieces (col2im). XLA's own convolution is level with torch's at most shapes and falls far
behind at three kinds, which `benchmarks.layers` measures (2 AVX-512 cores, ms; the number last is the batch):

    kind                          example                      XLA     product   torch
    outputs of at most 2x2        2x2x512 -> 512 k3 p1, 32     167     8         5
    one channel                   28x28x1 -> 32 k5, 128        15      4         9    (input gradient)
    up to four channels           64x64x3 -> 64 k3 p1, 16      19      2         9    (input gradient)

A strided convolution's input gradient, which is a transposed convolution's forward pass, goes by phases:
the places of x that share their remainder by the stride see the same part of the kernel. Either one
convolution makes all phases, with the kernel rounded up to whole strides and with places beyond the border
that are cut off; or each phase has a convolution of its own, which computes nothing in excess but is small
where channels are few (the same cores, ms):

    input gradient                            XLA   together   apart   torch
    8x8x256 -> 512 k4 s2 p1, 128                      69        48      41
    32x32x64 -> 128 k4 s2 p1, 128                     69        65      75
    64x64x3 -> 64 k4 s2 p1, 128                       12        48      37
    32x32x16 -> 32 k4 s2 p1, 128              36       4         7       7
    14x14x64 -> 128 k4 s2 p1, 128             13      11        10       8
    56x56x64 -> 128 k3 s2 p1, 16              16      19        13      13
    32x32x16 -> 32 k3 s2 p1, 32              1.6     1.0       0.9     0.8

Only one group and no negative padding is handled here, and phases without dilation. Other backends keep
XLA's form.
"""

import jax.numpy as jnp
from jax import lax

from flax_models.layers.products import rows_times_transposed
from flax_models.layers.windows import at_offset, fold, from_offset, offsets


def forward_form(in_channels: int, geometry):
    """The form of `conv2d` that is faster than XLA's, or None."""
    if _plain(geometry) and (_tiny(geometry) or in_channels == 1):
        return patches_forward
    return None


def input_form(in_channels: int, geometry):
    """The form of `conv2d_input` that is faster than XLA's, or None."""
    if not _plain(geometry):
        return None
    if _tiny(geometry) or in_channels == 1:
        return folded_input
    phases = max(geometry.stride) > 1 and geometry.dilation == (1, 1)
    # Whole strides add at most 1/4 to the kernel.
    whole = _places(_whole_kernel(geometry)) <= 1.25 * _places(geometry.kernel_size)
    if phases and whole and in_channels <= 16:
        return phases_together
    if in_channels <= 4:
        return folded_input
    covers = all(k >= s for k, s in zip(geometry.kernel_size, geometry.stride, strict=True))
    return phases_apart if phases and covers else None


def weight_form(in_channels: int, geometry):
    """The form of `conv2d_weight` that is faster than XLA's, or None."""
    if _plain(geometry) and (in_channels == 1 or geometry.kernel_size == (1, 1)):
        return patches_weight
    return None


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


def phases_together(y, w, geometry):
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


def phases_apart(y, w, geometry):
    """The same, as a convolution for each of the stride*stride phases of x."""
    # A phase without a part of the kernel would have nothing to convolve with.
    assert all(k >= s for k, s in zip(geometry.kernel_size, geometry.stride, strict=True))
    (n, *places, _), channels, strides = y.shape, w.shape[2], geometry.stride
    sizes = [-(-size // stride) for size, stride in zip(geometry.input_size, strides, strict=True)]
    w = w.transpose(0, 1, 3, 2)

    def part(axis: int, phase: int) -> tuple[slice, tuple[int, int]]:
        """The places of the kernel that a phase sees along an axis, and the padding of y."""
        stride = strides[axis]
        first, start = divmod(phase + geometry.padding[axis][0], stride)
        seen = slice(start, None, stride)
        taps = len(range(geometry.kernel_size[axis])[seen])
        return seen, (taps - 1 - first, sizes[axis] - places[axis] + first)

    def phase(i: int, j: int):
        (rows, vertical), (columns, horizontal) = part(0, i), part(1, j)
        kernel = w[rows, columns][::-1, ::-1]
        return lax.conv_general_dilated(
            y, kernel, (1, 1), (vertical, horizontal), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )

    made = [jnp.stack([phase(i, j) for j in range(strides[1])], 3) for i in range(strides[0])]
    full = [size * stride for size, stride in zip(sizes, strides, strict=True)]
    x = jnp.stack(made, 2).reshape(n, *full, channels)
    return x[:, : geometry.input_size[0], : geometry.input_size[1]]


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
