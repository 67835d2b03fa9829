"""The 2-d convolution and its two transposes. Each of the three is differentiated by the other two.

A convolution y = conv(x, w) is linear in x and in w:

    conv2d(x, w)           -> y     the convolution
    conv2d_input(y, w)     -> x     its transpose in x: the input gradient, and ConvTranspose2d
    conv2d_weight(x, y)    -> w     its transpose in w: the weight gradient

The gradient of each function consists of the other two. Therefore each function is written only once, and
derivatives of every order exist. The weight gradient of a transposed convolution is the fast weight gradient
of the strided convolution that it transposes. (XLA's own rule for it dilates the input, which its CPU backend
computes 20 times slower.)

Shapes: x (N, H, W, C), w (kH, kW, C/groups, K), y (N, OH, OW, K).
"""

from collections.abc import Callable
from functools import partial

import jax
from jax import lax

from flax_models.layers.ops import conv_forms
from flax_models.layers.ops.conv_forms import Geometry
from flax_models.layers.ops.derivatives import custom_vjp


def _xla_conv(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    return lax.conv_general_dilated(
        x, w, geometry.stride, geometry.padding, rhs_dilation=geometry.dilation,
        dimension_numbers=("NHWC", "HWIO", "NHWC"), feature_group_count=geometry.groups,
    )  # fmt: skip


def _xla_input(y: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    x = jax.ShapeDtypeStruct((y.shape[0], *geometry.input_size, w.shape[2] * geometry.groups), y.dtype)
    return jax.linear_transpose(lambda x: _xla_conv(x, w, geometry), x)(y)[0]


def _xla_weight(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    w = jax.ShapeDtypeStruct((*geometry.kernel_size, x.shape[3] // geometry.groups, y.shape[3]), x.dtype)
    return jax.linear_transpose(lambda w: _xla_conv(x, w, geometry), w)(y)[0]


def _on_cpu(
    form: Callable[..., jax.Array] | None, xla: Callable[..., jax.Array], *arrays: jax.Array,
    geometry: Geometry,
) -> jax.Array:  # fmt: skip
    """The result of `form` on a CPU, if there is one, and of XLA's convolution otherwise."""
    default = partial(xla, geometry=geometry)
    if form is None:
        return default(*arrays)
    return lax.platform_dependent(*arrays, cpu=partial(form, geometry=geometry), default=default)


@custom_vjp(nondiff_argnum=2)
def conv2d(x: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The convolution: (N, H, W, C), (kH, kW, C/groups, K) -> (N, OH, OW, K)."""
    form = conv_forms.forward_form(x, w, geometry)
    return _on_cpu(form, _xla_conv, x, w, geometry=geometry)


@custom_vjp(nondiff_argnum=2)
def conv2d_input(y: jax.Array, w: jax.Array, geometry: Geometry) -> jax.Array:
    """The transpose of conv2d in x: (N, OH, OW, K), (kH, kW, C/groups, K) -> (N, H, W, C)."""
    form = conv_forms.input_form(y, w, geometry)
    return _on_cpu(form, _xla_input, y, w, geometry=geometry)


@custom_vjp(nondiff_argnum=2)
def conv2d_weight(x: jax.Array, y: jax.Array, geometry: Geometry) -> jax.Array:
    """The transpose of conv2d in w: (N, H, W, C), (N, OH, OW, K) -> (kH, kW, C/groups, K)."""
    form = conv_forms.weight_form(x, y, geometry)
    return _on_cpu(form, _xla_weight, x, y, geometry=geometry)


def _forward(op: Callable[..., jax.Array]) -> Callable[..., tuple]:
    return lambda a, b, geometry: (op(a, b, geometry), (a, b))


conv2d.defvjp(
    _forward(conv2d),
    lambda geometry, saved, y: (
        conv2d_input(y, saved[1], geometry),
        conv2d_weight(saved[0], y, geometry),
    ),
)
conv2d_input.defvjp(
    _forward(conv2d_input),
    lambda geometry, saved, x: (
        conv2d(x, saved[1], geometry),
        conv2d_weight(x, saved[0], geometry),
    ),
)
conv2d_weight.defvjp(
    _forward(conv2d_weight),
    lambda geometry, saved, w: (
        conv2d_input(saved[1], w, geometry),
        conv2d(saved[0], w, geometry),
    ),
)
