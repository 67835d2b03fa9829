"""Sizes and axis orders: pairs of sizes, the check of image shapes, channels first and channels last."""

import jax

Pair = tuple[int, int]
Size = int | tuple[int, int]


def pair(size: Size) -> Pair:
    """The size as (height, width): 3 -> (3, 3), (3, 5) -> (3, 5). ValueError for anything else."""
    if isinstance(size, int):
        return size, size
    if isinstance(size, (tuple, list)) and len(size) == 2:
        return int(size[0]), int(size[1])
    raise ValueError(f"expected an int or a pair of ints, got {size!r}")


def check_images(x: jax.Array, layer: object) -> None:
    """Raises ValueError unless x is (N, H, W, C) and not empty; the message names the layer's class."""
    if x.ndim != 4 or 0 in x.shape[1:]:
        raise ValueError(f"{type(layer).__name__} expects (N, H, W, C) input, got shape {x.shape}")


def channels_first(x: jax.Array) -> jax.Array:
    """x with the axes in torch's order: (N, ..., C) -> (N, C, ...)."""
    return x.transpose(0, x.ndim - 1, *range(1, x.ndim - 1)) if x.ndim > 2 else x


def channels_last(x: jax.Array) -> jax.Array:
    """x with the channels moved to the end: (N, C, ...) -> (N, ..., C)."""
    return x.transpose(0, *range(2, x.ndim), 1) if x.ndim > 2 else x


def channels_last_axis(dim: int, x: jax.Array) -> int:
    """The axis of x, (N, ..., C), that torch numbers `dim` in (N, C, ...). ValueError if there is none."""
    if not -x.ndim <= dim < x.ndim:
        raise ValueError(f"dim={dim} is not an axis of shape {x.shape}")
    dim %= x.ndim
    if x.ndim < 3 or dim == 0:
        return dim
    return x.ndim - 1 if dim == 1 else dim - 1
