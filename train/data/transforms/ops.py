"""The array code of the image transforms: what `transforms` names, on (N, H, W, C) arrays inside jit.

Every function takes the images, a key and the arguments that were read, and draws for each image by
itself. Draws are float32 or int32 whatever the images are, so a run in float64 sees the same crops.
Geometry that has to be exact is integer arithmetic or tables made by numpy while tracing.

Sources: torchvision.transforms; K. He et al. (2015) and C. Szegedy et al. (2014) for the random crops.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train.data.transforms.syntax import ParsedTransform
from train.data.transforms.table import Transforms, resized

LUMINANCE = (0.2989, 0.587, 0.114)  # torchvision's for arrays; ITU-R 601-2
RATIO = (3 / 4, 4 / 3)  # width / height of random resized crops
TRIES = 10


def apply_transforms(transforms: Transforms, images: jax.Array, key: jax.Array) -> jax.Array:
    """Images (N, H, W, C), floats in [0, 1] -> the transformed images (N, H', W', C') in the same dtype.

    Every image has its own random draws. They follow from the key and the position of the transform alone:
    not from the dtype, and not from whether the call runs inside jit.
    Errors: ValueError where a shape cannot be transformed.
    """
    return _apply(transforms.steps, images, key)


@partial(jax.jit, static_argnums=0)
def _apply(steps: tuple[ParsedTransform, ...], images: jax.Array, key: jax.Array) -> jax.Array:
    if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"transforms take (N, H, W, C) floats in [0, 1], got {images.dtype} of shape {images.shape}"
        )
    Transforms(steps).output_shape(images.shape[1:])  # ValueError where it cannot be
    for position, step in enumerate(steps):
        images = OPS[step.name](fusion_barrier(images), jax.random.fold_in(key, position), *step.arguments)
    return images


def fusion_barrier(x):
    """x unchanged, in a form that the compiler does not fuse with the operations around it.

    XLA and LLVM fuse a product with the sum that follows it (one rounding instead of two) and with constants,
    within a transform, between transforms, and with the caller's x / 255. Inside jit the bits would then
    differ from those outside. On a CPU both compilers remove an optimization barrier. They also remove a
    maximum with 0, because a uint8 is never negative. They cannot bound x from above, so this minimum stays.
    """
    return jnp.minimum(x, jnp.finfo(x.dtype).max / 2)


def resize(images, key, height: int, width: int | None = None):
    """By two interpolation matrices; torch's interpolate(mode="bilinear", antialias=True)."""
    shape = resized(images.shape[1:], height, width)
    if shape == images.shape[1:]:
        return images
    rows, columns = (interpolation(np, 0, images.shape[a + 1], images.shape[a + 1], shape[a]) for a in (0, 1))
    return _interpolate(images, rows, columns)


def random_resized_crop(images, key, size: int, low: float, high: float):
    """A box for every image, by interpolation matrices of its own."""
    height, width = images.shape[1:3]
    dtype = jnp.promote_types(images.dtype, jnp.float32)
    top, left, box_height, box_width = _draw_boxes(key, len(images), (height, width), low, high)
    rows = interpolation(jnp, top, box_height, height, size, dtype)
    columns = interpolation(jnp, left, box_width, width, size, dtype)
    return _interpolate(images, rows, columns)


def interpolation(xp: Any, start, length, full: int, size: int, dtype=np.float64):
    """(..., size, full): resizes pixels start to start + length of `full` ones to `size`, bilinearly.

    xp: numpy or jax.numpy. start, length: integers of shape (...). A triangle about the place of each
    output pixel, as wide as two input pixels or, where the picture shrinks, two output pixels; weights
    beyond the part fall away. Distances are fractions of integers, hence exact but for one division.
    """
    start, length = (xp.asarray(value)[..., None, None] for value in (start, length))
    source = xp.arange(full) - start
    target = xp.arange(size)[:, None]
    distance = xp.abs((2 * source + 1) * size - (2 * target + 1) * length).astype(dtype)
    weights = xp.maximum(0, 1 - distance / (2 * xp.maximum(length, size)).astype(dtype))
    weights = xp.where((source >= 0) & (source < length), weights, 0)
    return weights / weights.sum(-1, keepdims=True)


def _interpolate(images, rows, columns):
    """rows @ image @ columns^T, with matrices ([N,] H', H) and ([N,] W', W)."""
    count, height, width, channels = images.shape
    rows, columns = jnp.asarray(rows, images.dtype), jnp.asarray(columns, images.dtype)
    # An accelerator's default precision would round the pixels to 8 or 11 bits.
    product = partial(jnp.einsum, precision="highest")
    each = "n" if rows.ndim == 3 else ""
    lines = product(f"{each}yh,nhk->nyk", rows, images.reshape(count, height, width * channels))
    lines = lines.reshape(count, rows.shape[-2], width, channels)
    return product(f"{each}xw,nywc->nyxc", columns, lines)


def _draw_boxes(key, count: int, shape: tuple[int, int], low: float, high: float):
    """Top, left, height, width of random resized crops, each (count,) int32.

    Of ten draws the first that fits; where none does, the largest central part whose ratio is allowed.
    """
    height, width = shape
    area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
    tries = (count, TRIES)
    area = height * width * jax.random.uniform(area_key, tries, jnp.float32, low, high)
    bounds = math.log(RATIO[0]), math.log(RATIO[1])
    ratio = jnp.exp(jax.random.uniform(ratio_key, tries, jnp.float32, *bounds))
    heights = jnp.round(jnp.sqrt(area / ratio)).astype(jnp.int32)
    widths = jnp.round(jnp.sqrt(area * ratio)).astype(jnp.int32)
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first = jnp.argmax(fits, axis=1, keepdims=True)
    found = fits.any(axis=1)
    largest = min(height, round(width / RATIO[0])), min(width, round(height * RATIO[1]))
    box_height = jnp.where(found, jnp.take_along_axis(heights, first, 1)[:, 0], largest[0])
    box_width = jnp.where(found, jnp.take_along_axis(widths, first, 1)[:, 0], largest[1])
    top = _draw_below(top_key, count, height - box_height + 1)
    left = _draw_below(left_key, count, width - box_width + 1)
    top = jnp.where(found, top, (height - box_height) // 2)
    left = jnp.where(found, left, (width - box_width) // 2)
    return top, left, box_height, box_width


def _draw_below(key, count: int, bound):
    """(count,) int32, uniform from 0 to bound - 1."""
    return jax.random.randint(key, (count,), 0, bound, jnp.int32)


def pad(images, key, padding: int):
    return jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def center_crop(images, key, size: int):
    """Odd margins as torchvision has them: padding more at the end, cropping fusion_barrier half to even."""
    for axis in (1, 2):
        missing = max(size - images.shape[axis], 0)
        margins = [(0, 0)] * 4
        margins[axis] = (missing // 2, missing - missing // 2)
        images = jnp.pad(images, margins)
        start = round((images.shape[axis] - size) / 2)
        images = jax.lax.slice_in_dim(images, start, start + size, axis=axis)
    return images


def random_crop(images, key, size: int, padding: int):
    images = pad(images, key, padding)
    count, height, width, channels = images.shape
    top_key, left_key = jax.random.split(key)
    top = _draw_below(top_key, count, height - size + 1)
    left = _draw_below(left_key, count, width - size + 1)
    crop = partial(jax.lax.dynamic_slice, slice_sizes=(size, size, channels))
    return jax.vmap(lambda image, y, x: crop(image, (y, x, jnp.int32(0))))(images, top, left)


def random_horizontal_flip(images, key, p: float):
    return _random_flip(images, key, p, axis=2)


def random_vertical_flip(images, key, p: float):
    return _random_flip(images, key, p, axis=1)


def _random_flip(images, key, p: float, axis: int):
    flipped = jax.random.uniform(key, (len(images), 1, 1, 1), jnp.float32) < p
    return jnp.where(flipped, jnp.flip(images, axis), images)


def random_rotation(images, key, degrees: float):
    angles = jax.random.uniform(key, (len(images),), jnp.float32, -degrees, degrees) * (math.pi / 180)
    return rotate(images, jnp.cos(angles), jnp.sin(angles))


def random_rotation_from(images, key, angles: tuple[float, ...]):
    which = _draw_below(key, len(images), len(angles))
    cosines, sines = np.transpose([_direction(angle) for angle in angles]).astype(np.float32)
    return rotate(images, jnp.asarray(cosines)[which], jnp.asarray(sines)[which])


def _direction(degrees: float) -> tuple[float, float]:
    """Cosine and sine, exact at quarter turns: cos(pi / 2) is 6e-17 in floats."""
    turns = degrees / 90
    if turns == round(turns):
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[round(turns) % 4]
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def rotate(images, cosine, sine):
    """Each image about its centre, counter-clockwise, by the angle of its cosine and sine, (N,).

    A pixel takes its nearest source, halves to the even one; zero where that lies outside.
    """
    count, height, width, channels = images.shape
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2)
    x = np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)
    cosine, sine = cosine[:, None, None], sine[:, None, None]
    row = jnp.round(fusion_barrier(sine * x) + fusion_barrier(cosine * y) + (height - 1) / 2).astype(
        jnp.int32
    )
    column = jnp.round(fusion_barrier(cosine * x) - fusion_barrier(sine * y) + (width - 1) / 2).astype(
        jnp.int32
    )
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pixel = jnp.where(inside, row * width + column, height * width).reshape(count, -1, 1)
    pixels = images.reshape(count, -1, channels)
    taken = jnp.take_along_axis(pixels, pixel, axis=1, mode="fill", fill_value=0)
    return taken.reshape(images.shape)


def normalize(images, key, mean: tuple[float, ...], std: tuple[float, ...]):
    return (images - jnp.asarray(mean, images.dtype)) / jnp.asarray(std, images.dtype)


def grayscale(images, key, channels: int):
    if images.shape[3] == 3:
        red, green, blue = (
            fusion_barrier(images[..., i : i + 1] * weight) for i, weight in enumerate(LUMINANCE)
        )
        images = red + green + blue
    return jnp.repeat(images, channels, axis=3) if images.shape[3] < channels else images


OPS = {
    op.__name__: op
    for op in (
        resize, center_crop, random_crop, random_horizontal_flip, random_vertical_flip, random_resized_crop,
        pad, random_rotation, random_rotation_from, normalize, grayscale,
    )
}  # fmt: skip
