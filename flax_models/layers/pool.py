"""Maximum, average and power pooling over windows with torch's arguments, on NHWC arrays."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from flax_models.layers.ops.dtypes import at_least_float32
from flax_models.layers.ops.pool import (
    Windows,
    max_pool2d,
    max_pool2d_indices,
    sum_pool2d,
    window_counts,
    window_padding,
)
from flax_models.layers.ops.shapes import Size, check_images, pair


class _Pool2d(nnx.Module):
    """The arguments that windowed pools share, checked as in torch."""

    def __init__(
        self, kernel_size: Size, stride: Size | None, padding: Size, dilation: Size, ceil_mode: bool
    ):  # fmt: skip
        self.kernel_size = pair(kernel_size)
        self.stride = pair(kernel_size if stride is None else stride)
        self.padding, self.dilation, self.ceil_mode = pair(padding), pair(dilation), ceil_mode
        if min(self.kernel_size + self.stride + self.dilation) < 1:
            raise ValueError("kernel_size, stride and dilation must be positive")
        if any(p < 0 or p > k // 2 for p, k in zip(self.padding, self.kernel_size, strict=True)):
            raise ValueError(f"padding {self.padding} must be at most half of the kernel {self.kernel_size}")

    def _windows(self, x: jax.Array) -> Windows:
        check_images(x, self)
        extents = [d * (k - 1) + 1 for d, k in zip(self.dilation, self.kernel_size, strict=True)]
        padding = window_padding(x.shape[1:3], extents, self.stride, self.padding, self.ceil_mode)
        return Windows(self.kernel_size, self.stride, padding, self.dilation)


class MaxPool2d(_Pool2d):
    """The maximum of each window: (N, H, W, C) -> (N, OH, OW, C).

    stride defaults to the kernel. Padding is symmetric and at most half the kernel. Padded values are never
    selected. ceil_mode keeps a last window that begins inside the image and ends outside. With return_indices
    the result is (values, indices); the index of a maximum is that of its pixel in the image, row * W +
    column.

    Errors: ValueError for arguments that torch refuses and for inputs smaller than the window.
    """

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, dilation: Size = 1,
        return_indices: bool = False, ceil_mode: bool = False,
    ):  # fmt: skip
        super().__init__(kernel_size, stride, padding, dilation, ceil_mode)
        self.return_indices = return_indices

    def __call__(self, x: jax.Array) -> Any:  # an array, or two with return_indices
        windows = self._windows(x)
        y = max_pool2d(x, windows)
        return (y, max_pool2d_indices(x, windows)) if self.return_indices else y


class AvgPool2d(_Pool2d):
    """The mean of each window: (N, H, W, C) -> (N, OH, OW, C).

    stride defaults to the kernel. Padded zeros are counted in the mean unless count_include_pad is False.
    With ceil_mode, the part of a last window that is beyond the padding is never counted. divisor_override
    replaces every count.

    Errors: ValueError for arguments that torch refuses and for inputs smaller than the window.
    """

    def __init__(
        self, kernel_size: Size, stride: Size | None = None, padding: Size = 0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ):  # fmt: skip
        super().__init__(kernel_size, stride, padding, 1, ceil_mode)
        if divisor_override == 0:
            raise ValueError("divisor_override must not be zero")
        self.count_include_pad, self.divisor_override = count_include_pad, divisor_override

    def __call__(self, x: jax.Array) -> jax.Array:
        windows = self._windows(x)
        if self.divisor_override is not None:
            divisor = self.divisor_override
        else:
            counted = self.padding if self.count_include_pad else (0, 0)
            divisor = window_counts(x.shape[1:3], windows, counted)[..., None]
        total = sum_pool2d(x.astype(at_least_float32(x.dtype)), windows)
        return (total / jnp.asarray(divisor, total.dtype)).astype(x.dtype)


class LPPool2d(_Pool2d):
    """(sum of x^p over each window)^(1/p), where p is norm_type: (N, H, W, C) -> (N, OH, OW, C).

    p = inf gives the maximum of |x|, p = -inf torch's -max(-|x|), the minimum. The gradient is zero if the
    sum is zero. With ceil_mode, a last window that is partly outside of the image is scaled to a full window:
    its sum is multiplied by (kernel size / number of values in it). As in torch, an odd p can make a sum
    negative; its root is then nan.

    Errors: ValueError for arguments that torch refuses and for inputs smaller than the window.
    """

    def __init__(
        self, norm_type: float, kernel_size: Size, stride: Size | None = None, ceil_mode: bool = False
    ):
        super().__init__(kernel_size, stride, 0, 1, ceil_mode)
        if norm_type == 0:
            raise ValueError("norm_type must not be zero")
        self.norm_type = float(norm_type)

    def __call__(self, x: jax.Array) -> jax.Array:
        windows = self._windows(x)
        if math.isinf(self.norm_type):
            sign = math.copysign(1, self.norm_type)
            return sign * max_pool2d(sign * jnp.sign(x) * x, windows)  # sign(x) * x is |x| with slope 0 at 0
        y = x.astype(at_least_float32(x.dtype))
        counts = window_counts(x.shape[1:3], windows, (0, 0))[..., None]
        total = sum_pool2d(_power(y, self.norm_type), windows) * (math.prod(self.kernel_size) / counts)
        # Both jnp.where are needed: the root's infinite slope at 0 must not reach the gradient.
        root = jnp.where(total == 0, 0, _power(jnp.where(total == 0, 1, total), 1 / self.norm_type))
        return root.astype(x.dtype)


def _power(x: jax.Array, exponent: float) -> jax.Array:
    return x ** (int(exponent) if exponent.is_integer() else exponent)
