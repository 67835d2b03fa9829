"""The octaves of a deep dream: a picture in ever smaller sizes, and the dream that grows through them.

Everything here is computed on the host by PIL. So it is the same for every network and in both frameworks.
Nothing here imports jax.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageFilter

BLUR_RADIUS = 2  # pixels, before a picture is halved
DREAM_SHARE = 0.6  # of the dream of the octave below; the rest is the octave's own picture
SCALING = Image.Resampling.LANCZOS


@dataclass(frozen=True, kw_only=True)
class DreamSettings:
    """How a network dreams. The defaults are for VGG16 with the published weights.

    Errors: ValueError on construction for values that no dream can have.
    """

    layer: int | None = None
    """Dream of the output of this many modules of the network's features, from the first; by default of all
    modules before the last convolution, which are 28 in VGG16."""
    octaves: int = 20
    """How often the picture is halved, at most; it is never smaller than a pixel."""
    iterations: int = 5
    """Steps of gradient ascent in each octave."""
    rate: float = 0.2
    """The multiple of the gradient that a step adds."""
    size: int | None = 224
    """Pixels per side of the square to which the picture of every octave is resized for the network; None
    lets the network see it in its own size."""
    accumulate: bool = True
    """Add up the gradients of the iterations of an octave; otherwise each step adds its own gradient."""

    def __post_init__(self) -> None:
        for name, least in (("layer", 1), ("octaves", 0), ("iterations", 1), ("size", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if not 0 < self.rate <= np.finfo(np.float32).max:  # this form refuses NaN too
            raise ValueError(f"rate must be positive and finite, got {self.rate}")


class Octave(NamedTuple):
    """The dream of one octave, as floats in [0, 1].

    image: (H, W, 3) in the octave's size. drawn: (H', W', 3), what the network made of the image that it saw.
    """

    image: np.ndarray
    drawn: np.ndarray


def halve(picture: Image.Image, settings: DreamSettings, smallest: int = 1) -> list[Image.Image]:
    """The picture and its smaller octaves, the smallest one first.

    smallest: the least number of pixels per side that the network takes.
    Errors: ValueError for a picture that is too small for the network.
    """
    seen = min(picture.size) if settings.size is None else settings.size
    if seen < smallest:
        raise ValueError(f"this layer takes at least {smallest} pixels per side, got {seen}")
    least = smallest if settings.size is None else 1
    pictures = [picture]
    while len(pictures) <= settings.octaves:
        last = pictures[-1]
        size = last.width // 2, last.height // 2
        if min(size) < least:
            break
        pictures.append(last.filter(ImageFilter.GaussianBlur(BLUR_RADIUS)).resize(size, SCALING))
    return pictures[::-1]


def dream_octaves(
    pictures: Sequence[Image.Image], draw: Callable[[np.ndarray], np.ndarray], settings: DreamSettings
) -> Iterator[Octave]:
    """The dream of each of the pictures that `halve` returns. The last one is the dream of the whole.

    draw: an image (H, W, 3) float32 in [0, 1] -> the image into which the network has dreamt, of that shape.
    Errors: ValueError for a dream with values that are not finite.
    """
    dream = None
    for picture in pictures:
        image = np.asarray(picture, np.float32) / 255
        if dream is not None:
            image = (1 - DREAM_SHARE) * image + DREAM_SHARE * resize(dream, picture.size)
        seen = image if settings.size is None else resize(image, (settings.size, settings.size))
        drawn = draw(seen)
        if not np.isfinite(drawn).all():
            raise ValueError(f"the dream is not finite at the rate {settings.rate}: choose a smaller rate")
        dream = resize(drawn, picture.size)
        yield Octave(dream, drawn)


def resize(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (H, W, 3) of floats in [0, 1] as float32 in another size, (width, height).

    The values stay floats: 8-bit values of an enlarged picture would be equal over wide areas, and rounding
    would decide which of them is the largest in a window of a max-pool.
    """
    if (image.shape[1], image.shape[0]) == size:
        return image.astype(np.float32)
    channels = np.moveaxis(image.astype(np.float32), -1, 0)
    resized = [np.asarray(Image.fromarray(channel).resize(size, SCALING)) for channel in channels]
    return np.clip(np.stack(resized, -1), 0, 1)
