"""Implements the image transforms: one function for each name in TRANSFORMS, called inside jit.

Every function takes images (N, H, W, C) in floats, a key and the parsed arguments, and returns the
transformed images. Its random numbers are independent for each image. They are float32 or int32 for images of
any dtype, so a run in float64 has the same crops. Exact geometry is computed with integers, or by numpy
during tracing.

Sources: torchvision.transforms; K. He et al. (2015) and C. Szegedy et al. (2014) for the random crops.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train.data.datasets import Shape
from train.data.transforms.syntax import ParsedTransform
from train.data.transforms.table import Transforms, resized_shape

LUMINANCE = (0.2989, 0.587, 0.114)  # torchvision's weights for tensors, from ITU-R 601-2
ASPECT_RATIO_RANGE = (3 / 4, 4 / 3)  # the bounds of width / height of random resized crops
MAX_TRIES = 10  # boxes drawn for each random resized crop


def apply_transforms(transforms: Transforms, images: jax.Array, key: jax.Array) -> jax.Array:
    """The transformed images (N, H', W', C'), in the dtype of the images.

    images: (N, H, W, C), floats in [0, 1]. Every image has its own random numbers. They depend on the key and
    on the index of the transform, not on the dtype, and not on whether the call runs inside jit.
    Errors: ValueError for images of a shape that a transform does not take.
    """
    return _apply(transforms.steps, images, key)


@partial(jax.jit, static_argnums=0)
def _apply(steps: tuple[ParsedTransform, ...], images: jax.Array, key: jax.Array) -> jax.Array:
    if images.ndim != 4 or not jnp.issubdtype(images.dtype, jnp.floating):
        raise ValueError(
            f"transforms take (N, H, W, C) floats in [0, 1], got {images.dtype} of shape {images.shape}"
        )
    Transforms(steps).output_shape(_shape_of(images))  # raises ValueError for a shape that does not fit
    for position, step in enumerate(steps):
        images = OPS[step.name](fusion_barrier(images), jax.random.fold_in(key, position), *step.arguments)
    return images


def _shape_of(images: jax.Array) -> Shape:
    _, height, width, channels = images.shape
    return height, width, channels


def fusion_barrier(x: jax.Array) -> jax.Array:
    """x unchanged, in a form that the compiler does not fuse with the operations around it.

    XLA and LLVM fuse a product with the sum that follows it, which gives one rounding instead of two. They
    also fuse products with constants. They do this within a transform, between transforms, and with the
    caller's x / 255. The bits inside jit would then differ from the bits outside.

    An optimization barrier does not help: on a CPU both compilers remove it. They also remove a maximum with
    0, because a uint8 is never negative. They do not know an upper bound of x, so they do not remove this
    minimum.
    """
    return jnp.minimum(x, jnp.finfo(x.dtype).max / 2)


def resize(images: jax.Array, key: jax.Array, height: int, width: int | None = None) -> jax.Array:
    """As torch's interpolate(mode="bilinear", antialias=True), by two interpolation matrices."""
    shape = resized_shape(_shape_of(images), height, width)
    if shape == images.shape[1:]:
        return images
    rows, columns = (interpolation(np, 0, images.shape[a + 1], images.shape[a + 1], shape[a]) for a in (0, 1))
    return _interpolate(images, rows, columns)


def random_resized_crop(
    images: jax.Array, key: jax.Array, size: int, low: float, high: float
) -> jax.Array:  # fmt: skip
    """Every image has its own box and its own interpolation matrices."""
    height, width = images.shape[1:3]
    dtype = images.dtype if images.dtype.itemsize > 4 else jnp.float32  # at least float32
    top, left, box_height, box_width = _draw_boxes(key, len(images), (height, width), low, high)
    rows = interpolation(jnp, top, box_height, height, size, dtype)
    columns = interpolation(jnp, left, box_width, width, size, dtype)
    return _interpolate(images, rows, columns)


def interpolation(xp: Any, start: Any, length: Any, full: int, size: int, dtype: Any = np.float64) -> Any:
    """The matrix (..., size, full) that resizes the pixels from start to start + length to `size` pixels.

    xp: numpy or jax.numpy. start, length: integers of shape (...). full: the number of input pixels. The
    weights of an output pixel are a triangle around its centre. The triangle is two input pixels wide or,
    when the image shrinks, two output pixels wide. Weights outside of start to start + length are 0.
    Distances are fractions of integers, so their only rounding is that of one division.
    """
    start, length = (xp.asarray(value)[..., None, None] for value in (start, length))
    source = xp.arange(full, dtype=start.dtype) - start
    target = xp.arange(size, dtype=start.dtype)[:, None]
    distance = xp.abs((2 * source + 1) * size - (2 * target + 1) * length).astype(dtype)
    weights = xp.maximum(0, 1 - distance / (2 * xp.maximum(length, size)).astype(dtype))
    weights = xp.where((source >= 0) & (source < length), weights, 0)
    return weights / weights.sum(-1, keepdims=True)


def _interpolate(images: jax.Array, rows: Any, columns: Any) -> jax.Array:
    """rows @ image @ columns^T of every image. rows: ([N,] H', H). columns: ([N,] W', W)."""
    count, height, width, channels = images.shape
    rows, columns = jnp.asarray(rows, images.dtype), jnp.asarray(columns, images.dtype)
    # An accelerator's default precision would round the pixels to 8 or 11 bits.
    product = partial(jnp.einsum, precision="highest")
    each = "n" if rows.ndim == 3 else ""
    lines = product(f"{each}yh,nhk->nyk", rows, images.reshape(count, height, width * channels))
    lines = lines.reshape(count, rows.shape[-2], width, channels)
    return product(f"{each}xw,nywc->nyxc", columns, lines)


def _draw_boxes(
    key: jax.Array, count: int, shape: tuple[int, int], low: float, high: float
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Top, left, height and width of random resized crops, each (count,) int32.

    A crop is the first of ten random boxes that fits into the image. If none fits, it is the largest central
    box whose aspect ratio is allowed.
    """
    height, width = shape
    area_key, ratio_key, top_key, left_key = jax.random.split(key, 4)
    tries = (count, MAX_TRIES)
    area = height * width * jax.random.uniform(area_key, tries, jnp.float32, low, high)
    bounds = math.log(ASPECT_RATIO_RANGE[0]), math.log(ASPECT_RATIO_RANGE[1])
    ratio = jnp.exp(jax.random.uniform(ratio_key, tries, jnp.float32, *bounds))
    heights = jnp.round(jnp.sqrt(area / ratio)).astype(jnp.int32)
    widths = jnp.round(jnp.sqrt(area * ratio)).astype(jnp.int32)
    fits = (heights > 0) & (heights <= height) & (widths > 0) & (widths <= width)
    first = jnp.argmax(fits, axis=1, keepdims=True)
    found = fits.any(axis=1)
    largest = (
        min(height, round(width / ASPECT_RATIO_RANGE[0])),
        min(width, round(height * ASPECT_RATIO_RANGE[1])),
    )
    box_height = jnp.where(found, jnp.take_along_axis(heights, first, 1)[:, 0], largest[0])
    box_width = jnp.where(found, jnp.take_along_axis(widths, first, 1)[:, 0], largest[1])
    top = _draw_below(top_key, count, height - box_height + 1)
    left = _draw_below(left_key, count, width - box_width + 1)
    top = jnp.where(found, top, (height - box_height) // 2)
    left = jnp.where(found, left, (width - box_width) // 2)
    return top, left, box_height, box_width


def _draw_below(key: jax.Array, count: int, bound: Any) -> jax.Array:
    """(count,) int32, uniform from 0 to bound - 1."""
    return jax.random.randint(key, (count,), 0, bound, jnp.int32)


def pad(images: jax.Array, key: jax.Array, padding: int) -> jax.Array:
    return jnp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))


def center_crop(images: jax.Array, key: jax.Array, size: int) -> jax.Array:
    """Odd margins follow torchvision: padding puts the larger half last, cropping rounds half to even."""
    for axis in (1, 2):
        missing = max(size - images.shape[axis], 0)
        margins = [(0, 0)] * 4
        margins[axis] = (missing // 2, missing - missing // 2)
        images = jnp.pad(images, margins)
        start = round((images.shape[axis] - size) / 2)
        images = jax.lax.slice_in_dim(images, start, start + size, axis=axis)
    return images


def random_crop(images: jax.Array, key: jax.Array, size: int, padding: int) -> jax.Array:
    images = pad(images, key, padding)
    count, height, width, channels = images.shape
    top_key, left_key = jax.random.split(key)
    top = _draw_below(top_key, count, height - size + 1)
    left = _draw_below(left_key, count, width - size + 1)
    crop = partial(jax.lax.dynamic_slice, slice_sizes=(size, size, channels))
    return jax.vmap(lambda image, y, x: crop(image, (y, x, jnp.int32(0))))(images, top, left)


def random_horizontal_flip(images: jax.Array, key: jax.Array, p: float) -> jax.Array:
    return _random_flip(images, key, p, axis=2)


def random_vertical_flip(images: jax.Array, key: jax.Array, p: float) -> jax.Array:
    return _random_flip(images, key, p, axis=1)


def _random_flip(images: jax.Array, key: jax.Array, p: float, axis: int) -> jax.Array:
    flipped = jax.random.uniform(key, (len(images), 1, 1, 1), jnp.float32) < p
    return jnp.where(flipped, jnp.flip(images, axis), images)


def random_rotation(images: jax.Array, key: jax.Array, degrees: float) -> jax.Array:
    angles = jax.random.uniform(key, (len(images),), jnp.float32, -degrees, degrees) * (math.pi / 180)
    return rotate(images, jnp.cos(angles), jnp.sin(angles))


def random_rotation_from(images: jax.Array, key: jax.Array, angles: tuple[float, ...]) -> jax.Array:
    chosen = _draw_below(key, len(images), len(angles))
    cosines, sines = np.transpose([_cos_and_sin(angle) for angle in angles]).astype(np.float32)
    return rotate(images, jnp.asarray(cosines)[chosen], jnp.asarray(sines)[chosen])


def _cos_and_sin(degrees: float) -> tuple[float, float]:
    """(cosine, sine), exact for multiples of 90 degrees, where floats give cos(pi / 2) = 6e-17."""
    turns = degrees / 90
    if turns == round(turns):
        return ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))[round(turns) % 4]
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def rotate(images: jax.Array, cosine: jax.Array, sine: jax.Array) -> jax.Array:
    """The images, each rotated about its centre, counter-clockwise, by the angle of its cosine and sine (N,).

    An output pixel takes the value of the nearest input pixel; halves round to even. It is 0 if that pixel is
    outside of the image.
    """
    count, height, width, channels = images.shape
    y = np.arange(height, dtype=np.float32)[:, None] - np.float32((height - 1) / 2)
    x = np.arange(width, dtype=np.float32) - np.float32((width - 1) / 2)
    cosine, sine = cosine[:, None, None], sine[:, None, None]
    source_y = fusion_barrier(sine * x) + fusion_barrier(cosine * y) + (height - 1) / 2
    source_x = fusion_barrier(cosine * x) - fusion_barrier(sine * y) + (width - 1) / 2
    row, column = (jnp.round(source).astype(jnp.int32) for source in (source_y, source_x))
    inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    pixel = jnp.where(inside, row * width + column, height * width).reshape(count, -1, 1)
    pixels = images.reshape(count, -1, channels)
    rotated = jnp.take_along_axis(pixels, pixel, axis=1, mode="fill", fill_value=0)
    return rotated.reshape(images.shape)


def normalize(
    images: jax.Array, key: jax.Array, mean: tuple[float, ...], std: tuple[float, ...]
) -> jax.Array:  # fmt: skip
    return (images - jnp.asarray(mean, images.dtype)) / jnp.asarray(std, images.dtype)


def grayscale(images: jax.Array, key: jax.Array, channels: int) -> jax.Array:
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
