"""Padding by reflection and by zeros, with torch's (left, right, top, bottom), on NHWC arrays."""

import jax
import jax.numpy as jnp
from flax import nnx

from flax_models.layers.ops.shapes import check_images


class _Pad2d(nnx.Module):
    """(N, H, W, C) -> (N, top + H + bottom, left + W + right, C); negative padding crops."""

    mode: str

    def __init__(self, padding: int | tuple[int, int, int, int]):
        sides = (padding,) * 4 if isinstance(padding, int) else tuple(padding)
        if len(sides) != 4:
            raise ValueError(f"padding must be an int or (left, right, top, bottom), got {sides}")
        self.padding = sides

    def __call__(self, x: jax.Array) -> jax.Array:
        check_images(x, self)
        left, right, top, bottom = self.padding
        sides = ((0, 0), (top, bottom), (left, right), (0, 0))
        if any(size + low + high < 1 for size, (low, high) in zip(x.shape, sides, strict=True)):
            raise ValueError(f"{type(self).__name__}: padding {self.padding} leaves nothing of {x.shape}")
        self._check_reach(x)
        padded = jnp.pad(x, [(max(low, 0), max(high, 0)) for low, high in sides], mode=self.mode)
        return padded[tuple(slice(max(-low, 0), min(high, 0) or None) for low, high in sides)]

    def _check_reach(self, x: jax.Array) -> None:
        """Raises ValueError if the image is too small for the padding."""


class ZeroPad2d(_Pad2d):
    __doc__ = f"Pads with zeros: {_Pad2d.__doc__}\n\n    Errors: ValueError if nothing would be left."
    mode = "constant"


class ReflectionPad2d(_Pad2d):
    __doc__ = f"""Pads by reflection at the border pixels: {_Pad2d.__doc__}

    Errors: ValueError if a padding is not smaller than the size that it reflects.
    """
    mode = "reflect"

    def _check_reach(self, x: jax.Array) -> None:
        left, right, top, bottom = self.padding
        if max(left, right) >= x.shape[2] or max(top, bottom) >= x.shape[1]:
            raise ValueError(f"ReflectionPad2d: padding {self.padding} must be smaller than {x.shape[1:3]}")
