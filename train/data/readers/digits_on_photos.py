"""`digits_on_photos`: handwritten digits, coloured, on patches of two real photographs, as a TFDS data set.

The digits and their split are those of `digits`, the photographs and their regions those of `photos`. After
MNIST-M: Y. Ganin et al., "Domain-adversarial training of neural networks" (2016).
"""

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from train.data.readers.digits import enlarge, split_digits
from train.data.readers.embedded import EmbeddedImages
from train.data.readers.photos import patches, regions

SIZE = 32
USES = 4  # pictures of every digit, each with another patch and colour
# The lightness of a digit differs by at least MIN_CONTRAST, of 255, from that of the photograph below it,
# on at least MIN_AREA of the digit's area.
MIN_CONTRAST, MIN_AREA = 70, 0.85
LIGHTNESS = np.array([0.299, 0.587, 0.114])  # ITU-R 601, as PIL's mode L has it


class DigitsOnPhotos(EmbeddedImages):
    """Images (32, 32, 3) uint8 and labels 0 to 9; 6,000 to train, 1,188 to test.

    No digit and no pixel of a photograph is in both splits.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "Every digit four times, in a colour that stands out from its patch."}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return SIZE, SIZE, 3

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split, *rows) for split, rows in split_digits().items()}

    def _generate_examples(self, split, images, labels):
        rng = np.random.default_rng(0)
        inks = [ink(image) for image in images]
        count = USES * len(labels)
        drawn = [patches(region, SIZE, count // 2, rng) for region in regions(split)]
        for index in range(count):
            use, row = divmod(index, len(labels))
            patch = next(drawn[(row + use) % 2])  # every digit lies twice on each photograph
            yield index, {"image": blend(inks[row], patch, rng), "label": labels[row]}


def ink(digit: np.ndarray) -> np.ndarray:
    """A digit (64,) in 0..16 -> how much of a pixel it covers, (32, 32, 1) in 0..1."""
    return np.pad(enlarge(digit.reshape(8, 8)), ((2, 2), (2, 2), (0, 0))) / 255


def blend(ink: np.ndarray, patch: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A digit's ink in a random colour over a patch (32, 32, 3) uint8: (32, 32, 3) uint8.

    Of 100 colours the first that stands out from the patch, or the one that does so most.
    """
    weights, under = ink[ink > 0], patch[ink[..., 0] > 0] @ LIGHTNESS
    colours = rng.integers(0, 256, (100, 3))
    distances = np.abs((colours @ LIGHTNESS)[:, None] - under)
    areas = (distances >= MIN_CONTRAST) @ weights / weights.sum()
    colour = colours[np.argmax(np.minimum(areas, MIN_AREA))]  # argmax takes the first of equals
    return np.round(patch * (1 - ink) + colour * ink).astype(np.uint8)
