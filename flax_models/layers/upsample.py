"""Upsample: torch's nearest and bilinear resizing, on NHWC arrays."""

import math

import jax
from flax import nnx

from flax_models.layers.ops.resize import bilinear_weights, nearest_source, resize, take
from flax_models.layers.ops.shapes import Size, check_images, pair

Scale = float | tuple[float, float]


class Upsample(nnx.Module):
    """Resizes to `size`, or to floor(H * scale_factor): (N, H, W, C) -> (N, OH, OW, C).

    "nearest" takes the source pixel floor(i * H/OH), or floor(i / scale_factor) if a scale_factor is given.
    It computes in float32, as torch does for every type.

    "bilinear" mixes the two pixels next to the coordinate (i + 1/2) * H/OH - 1/2. With align_corners the
    coordinate is i * (H-1)/(OH-1).

    With recompute_scale_factor a scale_factor only determines the output size.

    Errors: ValueError if not exactly one of size and scale_factor is given, for other modes, for
    align_corners with "nearest", and for empty outputs.
    """

    def __init__(
        self, size: Size | None = None, scale_factor: Scale | None = None, mode: str = "nearest",
        align_corners: bool | None = None, recompute_scale_factor: bool | None = None,
    ):  # fmt: skip
        if (size is None) == (scale_factor is None):
            raise ValueError(f"give either size or scale_factor; got {size!r} and {scale_factor!r}")
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

    def __call__(self, x: jax.Array) -> jax.Array:
        check_images(x, self)
        sizes = x.shape[1:3]
        scales: tuple[float | None, float | None] = (None, None)
        if self.scale_factor is not None:
            outputs = tuple(math.floor(n * s) for n, s in zip(sizes, self.scale_factor, strict=True))
            if not self.recompute_scale_factor:
                scales = self.scale_factor
        else:
            assert self.size is not None
            outputs = self.size
        if min(outputs) < 1:
            raise ValueError(f"Upsample: input of {sizes} gives an output of size {outputs}")
        axes = list(zip(sizes, outputs, scales, strict=True))
        if self.mode == "bilinear":
            rows, columns = (bilinear_weights(*axis, self.align_corners) for axis in axes)
            return resize(x, rows, columns)
        for axis, (size, output, scale) in enumerate(axes, start=1):
            x = take(x, nearest_source(size, output, scale), axis)
        return x


def _scales(scale_factor: Scale) -> tuple[float, float]:
    if isinstance(scale_factor, (int, float)):
        return float(scale_factor), float(scale_factor)
    if isinstance(scale_factor, (tuple, list)) and len(scale_factor) == 2:
        return float(scale_factor[0]), float(scale_factor[1])
    raise ValueError(f"scale_factor must be a number or a pair of numbers, got {scale_factor!r}")
