"""Conv2d and ConvTranspose2d with torch's padding and torch's initialisation, on NHWC arrays."""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax.typing import DTypeLike

from flax_models.layers.init import fan_in_uniform
from flax_models.layers.ops.channels import broadcast_channels
from flax_models.layers.ops.conv import conv2d, conv2d_input
from flax_models.layers.ops.conv_forms import Geometry
from flax_models.layers.ops.shapes import Pair, Size, pair


class _Convolution(nnx.Module):
    """The arguments of both directions, and their variables `weight` and `bias`.

    weight is (kH, kW, in_channels/groups, out_channels) for a Conv2d. A ConvTranspose2d is the transpose of a
    Conv2d, so its channels are exchanged: weight is (kH, kW, out_channels/groups, in_channels).
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size,
        padding: tuple[Pair, Pair], dilation: Size, groups: int, bias: bool, weight_channels: Pair,
        *, dtype: DTypeLike | None, param_dtype: DTypeLike, rngs: nnx.Rngs,
    ):  # fmt: skip
        if groups < 1 or in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups={groups} must divide in_channels={in_channels} and out_channels={out_channels}"
            )
        self.in_channels, self.out_channels, self.groups = in_channels, out_channels, groups
        self.kernel_size, self.stride = pair(kernel_size), pair(stride)
        self.padding, self.dilation = padding, pair(dilation)
        if min(self.kernel_size + self.stride + self.dilation) < 1:
            raise ValueError("kernel_size, stride and dilation must be positive")
        self.dtype = dtype
        # In both directions torch computes fan_in from the second axis of its weight.
        init = fan_in_uniform(weight_channels[0] * math.prod(self.kernel_size))
        shape = (*self.kernel_size, *weight_channels)
        self.weight = nnx.Param(init(rngs.params(), shape, param_dtype))
        self.bias = nnx.Param(init(rngs.params(), (out_channels,), param_dtype)) if bias else None

    def _check(self, x: jax.Array) -> None:
        if x.ndim != 4 or x.shape[-1] != self.in_channels:
            raise ValueError(
                f"{type(self).__name__} expects (N, H, W, {self.in_channels}) input, got shape {x.shape}"
            )

    def _geometry(self, input_size: Pair, padding: tuple[Pair, Pair]) -> Geometry:
        return Geometry(input_size, self.kernel_size, self.stride, padding, self.dilation, self.groups)

    def _promoted(self, x: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array | None]:
        bias = self.bias[...] if self.bias is not None else None
        x, weight, bias = promote_dtype((x, self.weight[...], bias), dtype=self.dtype)
        return x, weight, bias


class Conv2d(_Convolution):
    """2-d cross-correlation: (N, H, W, in_channels) -> (N, OH, OW, out_channels).

    Padding is symmetric: an int or pair, "valid" for none, or "same" for OH = H. "same" needs stride 1; an
    odd total has its extra row at the high side, as in torch. weight is (kH, kW, in_channels/groups,
    out_channels). weight and bias are initialised U(±1/sqrt(fan_in)).

    Errors: ValueError for arguments that torch refuses, wrong input ranks or channels, and inputs smaller
    than the kernel.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1,
        padding: Size | str = 0, dilation: Size = 1, groups: int = 1, bias: bool = True,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs,
    ):  # fmt: skip
        super().__init__(
            in_channels, out_channels, kernel_size, stride,
            _explicit_padding(padding, kernel_size, stride, dilation), dilation, groups, bias,
            (in_channels // max(groups, 1), out_channels), dtype=dtype, param_dtype=param_dtype, rngs=rngs,
        )  # fmt: skip

    def __call__(self, x: jax.Array) -> jax.Array:
        self._check(x)
        _, height, width, _ = x.shape
        geometry = self._geometry((height, width), self.padding)
        if min(geometry.output_size) < 1:
            raise ValueError(f"Conv2d: input of {x.shape[1:3]} is smaller than the kernel {self.kernel_size}")
        x, weight, bias = self._promoted(x)
        y = conv2d(x, weight, geometry)
        return y if bias is None else y + broadcast_channels(bias, y.shape)


class ConvTranspose2d(_Convolution):
    """The transpose of a Conv2d: (N, H, W, in_channels) -> (N, OH, OW, out_channels).

    OH = (H - 1) * stride - 2 * padding + dilation * (kH - 1) + output_padding + 1, and likewise OW. weight is
    (kH, kW, out_channels/groups, in_channels), the weight of the strided Conv2d that this layer transposes.
    weight and bias are initialised U(±1/sqrt(kH * kW * out_channels/groups)).

    Errors: ValueError for arguments that torch refuses, and for wrong input ranks or channels.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: Size, stride: Size = 1,
        padding: Size = 0, output_padding: Size = 0, groups: int = 1, bias: bool = True, dilation: Size = 1,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs,
    ):  # fmt: skip
        if isinstance(padding, str):
            raise ValueError(f"ConvTranspose2d takes padding as numbers, got {padding!r}")
        super().__init__(
            in_channels, out_channels, kernel_size, stride,
            _explicit_padding(padding, kernel_size, stride, dilation), dilation, groups, bias,
            (out_channels // max(groups, 1), in_channels), dtype=dtype, param_dtype=param_dtype, rngs=rngs,
        )  # fmt: skip
        self.output_padding = pair(output_padding)
        for extra, stride_, dilation_ in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if not 0 <= extra < max(stride_, dilation_):
                raise ValueError(
                    f"output_padding={extra} must be smaller than stride {stride_} or dilation {dilation_}"
                )

    def __call__(self, x: jax.Array) -> jax.Array:
        self._check(x)
        height, width = (
            (size - 1) * stride - low - high + dilation * (kernel - 1) + extra + 1
            for size, stride, (low, high), dilation, kernel, extra in zip(
                x.shape[1:3], self.stride, self.padding, self.dilation, self.kernel_size,
                self.output_padding, strict=True,
            )
        )  # fmt: skip
        if min(height, width) < 1:
            raise ValueError(
                f"ConvTranspose2d: input of {x.shape[1:3]} gives an output of size {(height, width)}"
            )
        # With dilation, output_padding may add more rows than one stride. The convolution that this layer
        # transposes does not reach those rows, so its padding is smaller by their number.
        vertical, horizontal = (
            (low, high - extra // stride * stride)
            for (low, high), extra, stride in zip(self.padding, self.output_padding, self.stride, strict=True)
        )
        x, weight, bias = self._promoted(x)
        y = conv2d_input(x, weight, self._geometry((height, width), (vertical, horizontal)))
        return y if bias is None else y + broadcast_channels(bias, y.shape)


def _explicit_padding(
    padding: Size | str, kernel_size: Size, stride: Size, dilation: Size
) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right))."""
    if padding == "valid":
        padding = 0
    if padding == "same":
        if pair(stride) != (1, 1):
            raise ValueError("padding='same' needs stride 1")
        height, width = (d * (k - 1) for d, k in zip(pair(dilation), pair(kernel_size), strict=True))
        return (height // 2, height - height // 2), (width // 2, width - width // 2)
    if isinstance(padding, str):
        raise ValueError(f"padding must be numbers, 'same' or 'valid', got {padding!r}")
    if min(pair(padding)) < 0:
        raise ValueError(f"padding must not be negative, got {padding}")
    vertical, horizontal = pair(padding)
    return (vertical, vertical), (horizontal, horizontal)
