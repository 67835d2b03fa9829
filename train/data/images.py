"""Pictures on the host: opened, and brought to a model's shape. PIL alone, so that every machine agrees."""

from dataclasses import dataclass
from typing import IO, Any, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps

from train.data.datasets import Fit, Shape
from train.data.sources import Arrays, Source


@dataclass(frozen=True)
class ImageSource(Source):
    """Labelled pictures that are decoded when they are asked for, and brought to `shape`.

    shape: (H, W, C), None as long as nobody has said which. fit: as in `fit_image`.
    """

    shape: Shape | None
    fit: Fit

    def load_image(self, index: int) -> tuple[Image.Image, int]:
        """One picture as it is, L or RGB, and its label."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = self.load_image(index)
        return {"image": fit_image(image, self.shape, self.fit), "label": np.int32(label)}

    @property
    def nbytes(self) -> int:
        return len(self) * (int(np.prod(self.shape)) + np.dtype(np.int32).itemsize)


def open_image(file: str | IO[bytes]) -> Image.Image:
    """A decoded picture, the right way up, in mode L or RGB; transparency is dropped.

    Errors: whatever PIL raises where the file is broken; ValueError where it has more than 8 bits a channel.
    """
    with Image.open(file) as image:
        mode = _target_mode(image)
        ImageOps.exif_transpose(image, in_place=True)
        # PIL warns of a palette whose transparency it would drop, unless that becomes a channel first.
        return (image.convert("RGBA") if "transparency" in image.info else image).convert(mode)


def check_image(file: str | IO[bytes]) -> Shape:
    """Reads a picture through, as `open_image` would, and raises what it would; returns its shape."""
    with Image.open(file) as image:
        width, height = image.size
        channels = 1 if _target_mode(image) == "L" else 3
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        image.draft(
            image.mode, (max(1, width // 8), max(1, height // 8))
        )  # a JPEG at an eighth: twice as fast
        image.load()
    return (width, height, channels) if turned else (height, width, channels)


def _target_mode(image: Image.Image) -> Literal["L", "RGB"]:
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"mode {image.mode} has more than 8 bits a channel")
    return "L" if image.mode in ("1", "L", "LA", "La") else "RGB"


def fit_image(image: Image.Image, shape: Shape, fit: Fit = "resize") -> np.ndarray:
    """An L or RGB picture as (H, W, C) uint8, C of 1 or 3.

    fit: "resize" resamples it (bicubic) to cover (H, W) and cuts the middle out; "crop" leaves its scale,
    cuts the middle out and puts zeros where it is too small.
    """
    height, width, channels = shape
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        if fit == "resize":
            image = ImageOps.fit(image, (width, height), Image.Resampling.BICUBIC)
        else:
            left, top = (image.width - width) // 2, (image.height - height) // 2
            image = image.crop((left, top, left + width, top + height))
    return np.asarray(image).reshape(shape)


def fit_arrays(arrays: Arrays, shape: Shape, fit: Fit = "resize") -> Arrays:
    """{"image": (N, h, w, c) uint8, ...} with its images brought to (H, W, C)."""
    images = arrays["image"]
    if images.shape[1:] == tuple(shape):
        return arrays
    fitted = np.empty((len(images), *shape), np.uint8)
    for index, image in enumerate(images):
        fitted[index] = fit_image(to_pil_image(image), shape, fit)
    return {**arrays, "image": fitted}


def to_pil_image(image: np.ndarray) -> Image.Image:
    """(H, W, 1) or (H, W, 3) uint8 as a picture of mode L or RGB."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
