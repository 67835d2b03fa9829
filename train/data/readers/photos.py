"""`photos`: square patches of the two photographs that come with scikit-learn, as a TFDS data set.

The pictures, 427x640: china.jpg (a temple) and flower.jpg (a dahlia), both CC BY, credited in scikit-learn's
`sklearn/datasets/images/README.txt`. Patches to test on come from rows of their own. The cut is level, so
that temple, flower and what is behind them lie on both sides of it.
"""

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from train.data.datasets import PHOTO_SIZES
from train.data.readers.embedded import EmbeddedImages

TEST_ROW = 227  # of 427: to train above it, to test from it on
COUNTS = {"train": 2000, "test": 400}


class Photos(EmbeddedImages):
    """Images (SIZE, SIZE, 3) uint8, labels 0 china and 1 flower in turn; 2,000 to train, 400 to test.

    The configuration's name is the size.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "No place twice; rows 0 to 226 to train, 227 to 426 to test."}
    BUILDER_CONFIGS: ClassVar = [tfds.core.BuilderConfig(name=str(n)) for n in PHOTO_SIZES]

    @property
    def size(self) -> int:
        assert self.builder_config is not None
        return int(self.builder_config.name)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.size, self.size, 3

    def _split_generators(self, dl_manager):
        return {split: self._generate_examples(split) for split in COUNTS}

    def _generate_examples(self, split):
        rng = np.random.default_rng(0)
        drawn = [patches(region, self.size, COUNTS[split] // 2, rng) for region in regions(split)]
        for index, pair in enumerate(zip(*drawn, strict=True)):
            for label, image in enumerate(pair):
                yield 2 * index + label, {"image": image, "label": label}


def regions(split: str) -> list[np.ndarray]:
    """The part of each photograph that a split may see: (227, 640, 3) to train, (200, 640, 3) to test."""
    from sklearn.datasets import load_sample_images

    rows = slice(TEST_ROW) if split == "train" else slice(TEST_ROW, None)
    return [image[rows] for image in load_sample_images().images]


def patches(region: np.ndarray, size: int, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """`count` patches (size, size, 3) of a region, at random places, none twice."""
    height, width = (side - size + 1 for side in region.shape[:2])
    for place in rng.choice(height * width, count, replace=False):
        top, left = divmod(place, width)
        yield region[top : top + size, left : left + size]
