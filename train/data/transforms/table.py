"""TRANSFORMS: image transforms by name, with torchvision's names and meaning, such as "random_crop:32:4".

A recipe carries its transforms as strings, so that they stand in recipe.json and on the command line. This
module parses and checks them and computes their shapes, without jax; `ops` applies them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from train.data.datasets import Shape
from train.data.transforms.syntax import (
    ParsedTransform,
    TransformKind,
    number,
    numbers,
    parse_step,
    side,
    whole,
)


@dataclass(frozen=True)
class Transforms:
    """Transforms in the order in which they are applied; a plain value, made by `parse_transforms`."""

    steps: tuple[ParsedTransform, ...] = ()

    def output_shape(self, shape: Shape) -> Shape:
        """(H, W, C) of an image -> that of its transform. ValueError where it cannot be transformed."""
        for step in self.steps:
            shape = TRANSFORMS[step.name].output_shape(shape, *step.arguments)
        return shape


def parse_transforms(names: Sequence[str]) -> Transforms:
    """("resize:40", "normalize:0.5:0.5") -> Transforms. ValueError for what TRANSFORMS does not have."""
    return Transforms(tuple(parse_step(TRANSFORMS, name, "transform") for name in names))


def _read_resize(height: str, width: str | None = None) -> tuple:
    return (side(height),) if width is None else (side(height), side(width))


def _read_random_crop(size: str, padding: str = "0") -> tuple:
    return side(size), whole(padding)


def _read_flip(p: str = "0.5") -> tuple:
    return (number(p, 0, 1),)


def _read_crop_scale(size: str, low: str = "0.08", high: str = "1") -> tuple:
    scale = number(low, 0, 1), number(high, 0, 1)
    if not 0 < scale[0] <= scale[1]:
        raise ValueError(f"a scale from {low} to {high} begins at 0 or ends before it begins")
    return side(size), *scale


def _read_normalize(mean: str, std: str) -> tuple:
    if min(numbers(std)) <= 0:
        raise ValueError(f"a deviation must be above 0, got {std}")
    return numbers(mean), numbers(std)


def _read_grayscale(channels: str = "1") -> tuple:
    if channels not in ("1", "3"):
        raise ValueError(f"a grey image has 1 or 3 channels, not {channels!r}")
    return (int(channels),)


def resized(shape: Shape, height: int, width: int | None = None) -> Shape:
    """The shape resized to height x width; of one number alone, to a shorter side of so many."""
    h, w, channels = shape
    if width is None:
        shorter = min(h, w)
        height, width = height * h // shorter, height * w // shorter
    return height, width, channels


def _square(shape: Shape, size: int, *_) -> Shape:
    return size, size, shape[2]


def _padded(shape: Shape, padding: int) -> Shape:
    return shape[0] + 2 * padding, shape[1] + 2 * padding, shape[2]


def _random_cropped(shape: Shape, size: int, padding: int) -> Shape:
    height, width, channels = _padded(shape, padding)
    if size > min(height, width):
        raise ValueError(f"random_crop:{size} is larger than the image, {height}x{width} with its padding")
    return size, size, channels


def _normalized(shape: Shape, mean: tuple, std: tuple) -> Shape:
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, shape[2]):
            raise ValueError(f"normalize has {len(values)} numbers as {name} for {shape[2]} channels")
    return shape


def _grayscaled(shape: Shape, channels: int) -> Shape:
    if shape[2] not in (1, 3):
        raise ValueError(f"grayscale takes images of 1 or 3 channels, not of {shape[2]}")
    return *shape[:2], channels


TRANSFORMS: dict[str, TransformKind] = {
    "resize": TransformKind("resize:SIZE or resize:H:W",
        "the shorter side to SIZE, or to H x W; bilinear, antialiased", _read_resize, resized),
    "center_crop": TransformKind("center_crop:SIZE",
        "the middle SIZE x SIZE; smaller pictures get zeros around", lambda size: (side(size),), _square),
    "random_crop": TransformKind("random_crop:SIZE[:PADDING]",
        "SIZE x SIZE anywhere, after PADDING zeros on every side", _read_random_crop, _random_cropped),
    "random_horizontal_flip": TransformKind("random_horizontal_flip[:P]",
        "left and right change sides with probability P, 0.5 where not given", _read_flip),
    "random_vertical_flip": TransformKind("random_vertical_flip[:P]",
        "top and bottom change sides with probability P, 0.5 where not given", _read_flip),
    "random_resized_crop": TransformKind("random_resized_crop:SIZE[:SCALE_LOW[:SCALE_HIGH]]",
        "a part, 0.08 to 1 of the area where not given, of ratio 3/4 to 4/3, resized to SIZE x SIZE",
        _read_crop_scale, _square),
    "pad": TransformKind("pad:N", "N zeros on every side", lambda n: (whole(n),), _padded),
    "random_rotation": TransformKind("random_rotation:DEGREES",
        "by an angle from -DEGREES to DEGREES; nearest pixel", lambda degrees: (number(degrees, 0),)),
    "random_rotation_from": TransformKind("random_rotation_from:A,B,...",
        "by one of these degrees, counter-clockwise; nearest pixel", lambda angles: (numbers(angles),)),
    "normalize": TransformKind("normalize:MEAN:STD",
        "(x - MEAN) / STD, each one number or one for every channel: A,B,C", _read_normalize, _normalized),
    "grayscale": TransformKind("grayscale[:CHANNELS]",
        "luminance, on 1 channel or on 3 alike", _read_grayscale, _grayscaled),
}  # fmt: skip
