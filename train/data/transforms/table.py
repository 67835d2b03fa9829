"""TRANSFORMS: image transforms by name, with torchvision's names and meaning, such as "random_crop:32:4".

A recipe has its transforms as strings, because recipe.json and the command line contain strings. This module
parses and checks them and computes the shapes of their results, without jax. `ops` applies them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from train.data.datasets import Shape
from train.data.transforms.syntax import (
    ParsedTransform,
    TransformKind,
    parse_step,
    read_integer,
    read_number,
    read_numbers,
    read_size,
)


@dataclass(frozen=True)
class Transforms:
    """Transforms in the order of their application: a plain value, which `parse_transforms` returns."""

    steps: tuple[ParsedTransform, ...] = ()

    @property
    def random(self) -> tuple[str, ...]:
        """The names of the transforms that draw random numbers; they begin with random_."""
        return tuple(step.name for step in self.steps if step.name.startswith("random_"))

    def output_shape(self, shape: Shape) -> Shape:
        """The shape (H, W, C) of a transformed image. ValueError if an image of `shape` does not fit."""
        for step in self.steps:
            shape = TRANSFORMS[step.name].output_shape(shape, *step.arguments)
        return shape


def parse_transforms(names: Sequence[str]) -> Transforms:
    """The transforms of names such as ("resize:40", "normalize:0.5:0.5").

    Errors: ValueError for a name that is not in TRANSFORMS, and for bad arguments.
    """
    return Transforms(tuple(parse_step(TRANSFORMS, name, "transform") for name in names))


def _read_resize(height: str, width: str | None = None) -> tuple:
    return (read_size(height),) if width is None else (read_size(height), read_size(width))


def _read_random_crop(size: str, padding: str = "0") -> tuple:
    return read_size(size), read_integer(padding)


def _read_flip(p: str = "0.5") -> tuple:
    return (read_number(p, 0, 1),)


def _read_crop_scale(size: str, low: str = "0.08", high: str = "1") -> tuple:
    scale = read_number(low, 0, 1), read_number(high, 0, 1)
    if not 0 < scale[0] <= scale[1]:
        raise ValueError(f"a scale needs 0 < SCALE_LOW <= SCALE_HIGH, got {low} and {high}")
    return read_size(size), *scale


def _read_normalize(mean: str, std: str) -> tuple:
    if min(read_numbers(std)) <= 0:
        raise ValueError(f"a standard deviation must be above 0, got {std}")
    return read_numbers(mean), read_numbers(std)


def _read_grayscale(channels: str = "1") -> tuple:
    if channels not in ("1", "3"):
        raise ValueError(f"a grey image has 1 or 3 channels, not {channels!r}")
    return (int(channels),)


def resized_shape(shape: Shape, height: int, width: int | None = None) -> Shape:
    """The shape after resizing to height x width; without `width`, `height` is the new shorter side."""
    h, w, channels = shape
    if width is None:
        shorter = min(h, w)
        height, width = height * h // shorter, height * w // shorter
    return height, width, channels


def _square_shape(shape: Shape, size: int, *_) -> Shape:
    return size, size, shape[2]


def _padded_shape(shape: Shape, padding: int) -> Shape:
    return shape[0] + 2 * padding, shape[1] + 2 * padding, shape[2]


def _random_cropped_shape(shape: Shape, size: int, padding: int) -> Shape:
    height, width, channels = _padded_shape(shape, padding)
    if size > min(height, width):
        raise ValueError(f"random_crop:{size} is larger than the image, {height}x{width} with the padding")
    return size, size, channels


def _normalized_shape(shape: Shape, mean: tuple, std: tuple) -> Shape:
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, shape[2]):
            raise ValueError(f"normalize has {len(values)} values of {name} for {shape[2]} channels")
    return shape


def _grayscaled_shape(shape: Shape, channels: int) -> Shape:
    if shape[2] not in (1, 3):
        raise ValueError(f"grayscale takes images of 1 or 3 channels, got {shape[2]}")
    return *shape[:2], channels


TRANSFORMS: dict[str, TransformKind] = {
    "resize": TransformKind("resize:SIZE or resize:H:W",
        "resize the shorter side to SIZE, or the image to H x W; bilinear, antialiased",
        _read_resize, resized_shape),
    "center_crop": TransformKind("center_crop:SIZE",
        "crop the central SIZE x SIZE; pad smaller images with zeros",
        lambda size: (read_size(size),), _square_shape),
    "random_crop": TransformKind("random_crop:SIZE[:PADDING]",
        "crop a random SIZE x SIZE, after PADDING zeros on every side",
        _read_random_crop, _random_cropped_shape),
    "random_horizontal_flip": TransformKind("random_horizontal_flip[:P]",
        "swap left and right with probability P, by default 0.5", _read_flip),
    "random_vertical_flip": TransformKind("random_vertical_flip[:P]",
        "swap top and bottom with probability P, by default 0.5", _read_flip),
    "random_resized_crop": TransformKind("random_resized_crop:SIZE[:SCALE_LOW[:SCALE_HIGH]]",
        "crop a random part of the area, by default 0.08 to 1, of ratio 3/4 to 4/3; resize it to SIZE x SIZE",
        _read_crop_scale, _square_shape),
    "pad": TransformKind("pad:N", "pad with N zeros on every side",
        lambda n: (read_integer(n),), _padded_shape),
    "random_rotation": TransformKind("random_rotation:DEGREES",
        "rotate by a random angle from -DEGREES to DEGREES; nearest pixel",
        lambda degrees: (read_number(degrees, 0),)),
    "random_rotation_from": TransformKind("random_rotation_from:A,B,...",
        "rotate by one of these angles in degrees, counter-clockwise; nearest pixel",
        lambda angles: (read_numbers(angles),)),
    "normalize": TransformKind("normalize:MEAN:STD",
        "(x - MEAN) / STD, each one number or one per channel: A,B,C", _read_normalize, _normalized_shape),
    "grayscale": TransformKind("grayscale[:CHANNELS]",
        "replace the colours by the luminance, on 1 channel or repeated on 3",
        _read_grayscale, _grayscaled_shape),
}  # fmt: skip
