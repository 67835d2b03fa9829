"""`photos`: square patches of the two photographs that come with scikit-learn, as a TFDS data set.

The photographs, 427x640: china.jpg (a temple) and flower.jpg (a dahlia), both CC BY, credited in
scikit-learn's `sklearn/datasets/images/README.txt`. Training patches come from the rows above TEST_ROW, test
patches from the others. The cut is horizontal, so both splits see temple, flower and their backgrounds.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from train.data.datasets import PHOTO_SIZES
from train.data.readers.embedded import EmbeddedImages, Example

TEST_ROW = 227  # the first of the 427 rows that belongs to the test split
COUNTS = {"train": 2000, "test": 400}


class Photos(EmbeddedImages):
    """Images (SIZE, SIZE, 3) uint8, labels 0 (china) and 1 (flower); 2,000 to train on, 400 to test on.

    The name of the builder's configuration is the size.
    """

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {
        "1.0.0": "All positions differ; rows 0 to 226 are for training, 227 to 426 for testing."
    }
    BUILDER_CONFIGS: ClassVar = [tfds.core.BuilderConfig(name=str(n)) for n in PHOTO_SIZES]

    @property
    def size(self) -> int:
        """The pixels per side of a patch."""
        assert self.builder_config is not None
        return int(self.builder_config.name)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self.size, self.size, 3

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Example]]:
        return {split: self._generate_examples(split) for split in COUNTS}

    def _generate_examples(self, split: str) -> Iterator[Example]:
        rng = np.random.default_rng(0)
        patches = [draw_patches(region, self.size, COUNTS[split] // 2, rng) for region in regions(split)]
        for index, pair in enumerate(zip(*patches, strict=True)):
            for label, image in enumerate(pair):
                yield 2 * index + label, {"image": image, "label": label}


def regions(split: str) -> list[np.ndarray]:
    """The part of each photograph for a split: (227, 640, 3) for "train", (200, 640, 3) for "test"."""
    from sklearn.datasets import load_sample_images

    rows = slice(TEST_ROW) if split == "train" else slice(TEST_ROW, None)
    return [image[rows] for image in load_sample_images().images]


def draw_patches(region: np.ndarray, size: int, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """`count` patches (size, size, 3) of a region, from random top left pixels that all differ."""
    height, width = (side - size + 1 for side in region.shape[:2])
    for position in rng.choice(height * width, count, replace=False):
        top, left = divmod(position, width)
        yield region[top : top + size, left : left + size]
