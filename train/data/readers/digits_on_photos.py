"""`digits_on_photos`: handwritten digits, coloured, on patches of two real photographs, as a TFDS data set.

The digits and their split are those of `digits`. The photographs and their regions are those of `photos`.
Source of the idea: MNIST-M in Y. Ganin et al., "Domain-adversarial training of neural networks" (2016).
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from train.data.readers.digits import enlarge, split_digits
from train.data.readers.embedded import EmbeddedImages, Example
from train.data.readers.photos import draw_patches, regions

SIZE = 32
COPIES = 4  # number of images per digit, each with a different patch and colour
# A pixel of a digit is visible if its lightness (0 to 255) differs by at least MIN_CONTRAST from that of the
# patch. At least the fraction MIN_AREA of a digit's area should be visible.
MIN_CONTRAST, MIN_AREA = 70, 0.85
LIGHTNESS = np.array([0.299, 0.587, 0.114])  # weights of red, green and blue: ITU-R 601, as in PIL's mode L


class DigitsOnPhotos(EmbeddedImages):
    """Images (32, 32, 3) uint8 and labels 0 to 9; 6,000 to train on, 1,188 to test on.

    No digit and no pixel of a photograph is in both splits.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Every digit four times, in a colour that contrasts with its patch."}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return SIZE, SIZE, 3

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Example]]:
        return {split: self._generate_examples(split, *rows) for split, rows in split_digits().items()}

    def _generate_examples(self, split: str, images: np.ndarray, labels: np.ndarray) -> Iterator[Example]:
        rng = np.random.default_rng(0)
        alphas = [alpha_mask(image) for image in images]
        count = COPIES * len(labels)
        patches = [draw_patches(region, SIZE, count // 2, rng) for region in regions(split)]
        for index in range(count):
            copy, row = divmod(index, len(labels))
            patch = next(patches[(row + copy) % 2])  # two of the four copies are on each photograph
            yield index, {"image": blend(alphas[row], patch, rng), "label": labels[row]}


def alpha_mask(digit: np.ndarray) -> np.ndarray:
    """The opacity of a digit, (32, 32, 1) in 0..1. digit: (64,) in 0..16."""
    return np.pad(enlarge(digit.reshape(8, 8)), ((2, 2), (2, 2), (0, 0))) / 255


def blend(alpha: np.ndarray, patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image (32, 32, 3) uint8 of a digit in a random colour on a patch.

    alpha: the digit's opacity, (32, 32, 1) in 0..1. patch: (32, 32, 3) uint8. The digit gets the first of 100
    random colours in which at least MIN_AREA of it is visible. If there is no such colour, it gets the one in
    which most of it is visible.
    """
    weights, background = alpha[alpha > 0], patch[alpha[..., 0] > 0] @ LIGHTNESS
    colours = rng.integers(0, 256, (100, 3))
    contrasts = np.abs((colours @ LIGHTNESS)[:, None] - background)
    areas = (contrasts >= MIN_CONTRAST) @ weights / weights.sum()
    colour = colours[np.argmax(np.minimum(areas, MIN_AREA))]  # argmax returns the first of equal values
    return np.round(patch * (1 - alpha) + colour * alpha).astype(np.uint8)
