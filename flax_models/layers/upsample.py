"""Upsample: torch's nearest and bilinear resizing, on NHWC arrays."""

import math

import jax.numpy as jnp
import numpy as np
from flax import nnx

from flax_models.layers.conv import Size, pair
from flax_models.layers.pool import check_picture
from flax_models.layers.resize_ops import resize

Scale = float | tuple[float, float]


class Upsample(nnx.Module):
    """Resizes to `size`, or to floor(H * scale_factor): (N, H, W, C) -> (N, OH, OW, C).

    "nearest" takes the source pixel floor(i * H/OH), with i / scale_factor in place of it where a
    scale_factor was given; computed in float32, as torch does for every type. "bilinear" mixes the
    two pixels beside (i + 1/2) * H/OH - 1/2, or with align_corners beside i * (H-1)/(OH-1).
    recompute_scale_factor makes a scale_factor count through the size alone.

    Errors: ValueError where not exactly one of size and scale_factor is given, for other modes,
    for align_corners with "nearest", and for empty outputs.
    """

    def __init__(
        self, size: Size | None = None, scale_factor: Scale | None = None, mode: str = "nearest",
        align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    ):  # fmt: skip
        if (size is None) == (scale_factor is None):
            raise ValueError(f"give size or scale_factor, one of them; got {size!r} and {scale_factor!r}")
        if mode not in ("nearest", "bilinear"):
            raise ValueError(f"mode must be 'nearest' or 'bilinear', got {mode!r}")
        if align_corners is not None and mode == "nearest":
            raise ValueError("align_corners goes with mode='bilinear' only")
        if recompute_scale_factor and size is not None:
            raise ValueError("recompute_scale_factor goes with scale_factor only")
        self.size = None if size is None else pair(size)
        self.scale_factor = None if scale_factor is None else _scales(scale_factor)
        self.mode, self.align_corners = mode, bool(align_corners)
        self.recompute_scale_factor = bool(recompute_scale_factor)

    def __call__(self, x):
        check_picture(x, self)
        sizes = x.shape[1:3]
        scales = self.scale_factor or (None, None)
        outputs = self.size or tuple(math.floor(n * s) for n, s in zip(sizes, scales, strict=True))
        if min(outputs) < 1:
            raise ValueError(f"Upsample: input of {sizes} makes an output of {outputs}")
        if self.recompute_scale_factor:
            scales = (None, None)
        axes = list(zip(sizes, outputs, scales, strict=True))
        if self.mode == "bilinear":
            return resize(x, *(_bilinear_weights(*axis, self.align_corners) for axis in axes))
        for axis, (size, output, scale) in enumerate(axes, start=1):
            x = _take(x, _nearest_source(size, output, scale), axis)
        return x


def _scales(scale_factor) -> tuple[float, float]:
    if isinstance(scale_factor, (int, float)):
        return float(scale_factor), float(scale_factor)
    if isinstance(scale_factor, (tuple, list)) and len(scale_factor) == 2:
        return float(scale_factor[0]), float(scale_factor[1])
    raise ValueError(f"scale_factor must be a number or a pair of numbers, got {scale_factor!r}")


def _nearest_source(size: int, output: int, scale: float | None):
    """(output,): the source of each pixel. Equal and doubled sizes torch reads off in integers."""
    i = np.arange(output)
    if output in (size, 2 * size):
        return i * size // output
    step = np.float32(1 / scale) if scale else np.float32(size) / np.float32(output)
    return np.minimum((i.astype(np.float32) * step).astype(int), size - 1)


def _take(x, source, axis: int):
    """x at those places of the axis; whole repeats as a broadcast, whose gradient is a plain sum."""
    repeats, rest = divmod(len(source), x.shape[axis])
    if not rest and np.array_equal(source, np.arange(len(source)) // repeats):
        return jnp.repeat(x, repeats, axis)
    return jnp.take(x, source, axis)


def _bilinear_weights(size: int, output: int, scale: float | None, align_corners: bool):
    """(output, size): what each pixel takes of each source pixel."""
    i = np.arange(output)
    if output == size:
        source = i.astype(float)
    elif align_corners:
        source = i * ((size - 1) / max(output - 1, 1))
    else:
        source = np.maximum((i + 0.5) * (1 / scale if scale else size / output) - 0.5, 0)
    low = np.minimum(source.astype(int), size - 1)
    high_weight = source - low
    weights = np.zeros((output, size))
    weights[i, low] += 1 - high_weight
    weights[i, np.minimum(low + 1, size - 1)] += high_weight
    return weights
