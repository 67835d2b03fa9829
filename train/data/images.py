"""Decodes images and resizes them on the host.

Only PIL is used, so that the results are the same on every machine.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from PIL import ExifTags, Image, ImageOps

from train.data.datasets import Fit, Shape
from train.data.sources import Arrays, Source


@dataclass(frozen=True)
class ImageSource(Source):
    """Labelled images that are decoded, and resized or cropped to `shape`, when they are accessed.

    shape: (H, W, C); None until `load_data` sets it, if the images have different sizes. fit: as in
    `fit_image`.
    """

    shape: Shape | None
    fit: Fit

    def load_image(self, index: int) -> tuple[Image.Image, int]:
        """One image in its own size, mode L or RGB, and its label."""
        raise NotImplementedError

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = self.load_image(index)
        return {"image": fit_image(image, self._known_shape, self.fit), "label": np.int32(label)}

    @property
    def nbytes(self) -> int:
        return len(self) * (math.prod(self._known_shape) + np.dtype(np.int32).itemsize)

    @property
    def _known_shape(self) -> Shape:
        assert self.shape is not None, "examples are read after load_data has set the shape"
        return self.shape


def open_image(file: str | IO[bytes]) -> Image.Image:
    """A decoded image in mode L or RGB, turned as its EXIF data says; transparency is dropped.

    Errors: what PIL raises for a broken file; ValueError for more than 8 bits per channel.
    """
    with Image.open(file) as image:
        mode = _target_mode(image)
        ImageOps.exif_transpose(image, in_place=True)
        # PIL warns when it converts a palette with transparency directly, but not when it converts to RGBA
        # first.
        return (image.convert("RGBA") if "transparency" in image.info else image).convert(mode)


def read_images(files: Sequence[str | Path], shape: Shape, fit: Fit = "resize") -> np.ndarray:
    """(N, H, W, C) uint8: the images of files, as training reads them.

    fit: as in `fit_image`. Errors: ValueError that names a file that is missing or not a readable image.
    """
    images = np.empty((len(files), *shape), np.uint8)
    for image, file in zip(images, files, strict=True):
        image[:] = fit_image(read_image(file), shape, fit)
    return images


def read_image(file: str | Path) -> Image.Image:
    """The image of a user's file, as `open_image` decodes it. ValueError that names an unreadable file."""
    try:
        return open_image(str(file))
    except Exception as error:  # PIL raises exceptions of many types
        raise ValueError(f"{file} cannot be read as an image: {error}") from None


def check_image(file: str | IO[bytes]) -> Shape:
    """The shape of an image file. Decodes all of it, and raises what `open_image` would raise."""
    with Image.open(file) as image:
        width, height = image.size
        channels = 1 if _target_mode(image) == "L" else 3
        turned = image.getexif().get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        # PIL decodes a JPEG at an eighth of its size twice as fast.
        image.draft(image.mode, (max(1, width // 8), max(1, height // 8)))
        image.load()
    return (width, height, channels) if turned else (height, width, channels)


def _target_mode(image: Image.Image) -> Literal["L", "RGB"]:
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"mode {image.mode} has more than 8 bits per channel")
    return "L" if image.mode in ("1", "L", "LA", "La") else "RGB"


def fit_image(image: Image.Image, shape: Shape, fit: Fit = "resize") -> np.ndarray:
    """An image of mode L or RGB as an array (H, W, C) uint8; C is 1 or 3.

    fit: "resize" resamples the image (bicubic) to cover (H, W) and crops it centrally; "crop" keeps its
    scale, crops it centrally, and pads it with zeros if it is too small.
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
    """The arrays, with "image" (N, h, w, c) uint8 resized or cropped to `shape`. fit: as in `fit_image`."""
    images = arrays["image"]
    if images.shape[1:] == tuple(shape):
        return arrays
    fitted = np.empty((len(images), *shape), np.uint8)
    for index, image in enumerate(images):
        fitted[index] = fit_image(to_pil_image(image), shape, fit)
    return {**arrays, "image": fitted}


def to_pil_image(image: np.ndarray) -> Image.Image:
    """An array (H, W, 1) or (H, W, 3) uint8 as an image of mode L or RGB."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
