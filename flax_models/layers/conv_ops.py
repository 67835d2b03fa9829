"""The 2-d convolution and its two transposes, each of which is differentiated by the other two.

Over y = conv(x, w), which is linear in x and in w:

    conv2d(x, w)           -> y     the convolution
    conv2d_input(y, w)     -> x     its transpose in x: the input gradient, and ConvTranspose2d
    conv2d_weight(x, y)    -> w     its transpose in w: the weight gradient

The gradient of any of the three is made of the other two, so each direction is computed in one
place, derivatives of any order close, and a transposed convolution's weight gradient is the fast
one of the strided convolution that it transposes. (XLA's own rule for it dilates the input, which
its CPU backend computes 20 times slower.)

Shapes: x (N, H, W, C), w (kH, kW, C/groups, K), y (N, OH, OW, K).
"""

from functools import partial
from typing import NamedTuple

import jax
from jax import lax

from flax_models.layers import conv_forms

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """What a convolution is besides its arrays. All sizes are (height, width)."""

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


def _library_conv(x, w, geometry: Geometry):
    return lax.conv_general_dilated(
        x, w, geometry.stride, geometry.padding, rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=geometry.groups,
    )  # fmt: skip


def _library_input(y, w, geometry: Geometry):
    x = jax.ShapeDtypeStruct((y.shape[0], *geometry.input_size, w.shape[2] * geometry.groups), y.dtype)
    return jax.linear_transpose(lambda x: _library_conv(x, w, geometry), x)(y)[0]


def _library_weight(x, y, geometry: Geometry):
    w = jax.ShapeDtypeStruct((*geometry.kernel_size, x.shape[3] // geometry.groups, y.shape[3]), x.dtype)
    return jax.linear_transpose(lambda w: _library_conv(x, w, geometry), w)(y)[0]


def _on_cpu(form, library, *arrays, geometry: Geometry):
    """Our form, where there is one, on a CPU; XLA's convolution otherwise."""
    library = partial(library, geometry=geometry)
    if form is None:
        return library(*arrays)
    return lax.platform_dependent(*arrays, cpu=partial(form, geometry=geometry), default=library)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv2d(x, w, geometry: Geometry):
    """(N, H, W, C), (kH, kW, C/groups, K) -> (N, OH, OW, K)."""
    form = conv_forms.forward_form(w.shape[2], geometry)
    return _on_cpu(form, _library_conv, x, w, geometry=geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv2d_input(y, w, geometry: Geometry):
    """(N, OH, OW, K), (kH, kW, C/groups, K) -> (N, H, W, C)."""
    form = conv_forms.input_form(w.shape[2], geometry)
    return _on_cpu(form, _library_input, y, w, geometry=geometry)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def conv2d_weight(x, y, geometry: Geometry):
    """(N, H, W, C), (N, OH, OW, K) -> (kH, kW, C/groups, K)."""
    form = conv_forms.weight_form(x.shape[3], geometry)
    return _on_cpu(form, _library_weight, x, y, geometry=geometry)


def _saved(op):
    return lambda a, b, geometry: (op(a, b, geometry), (a, b))


conv2d.defvjp(
    _saved(conv2d),
    lambda geometry, saved, y: (
        conv2d_input(y, saved[1], geometry),
        conv2d_weight(saved[0], y, geometry),
    ),
)
conv2d_input.defvjp(
    _saved(conv2d_input),
    lambda geometry, saved, x: (
        conv2d(x, saved[1], geometry),
        conv2d_weight(x, saved[0], geometry),
    ),
)
conv2d_weight.defvjp(
    _saved(conv2d_weight),
    lambda geometry, saved, w: (
        conv2d_input(saved[1], w, geometry),
        conv2d(saved[0], w, geometry),
    ),
)
