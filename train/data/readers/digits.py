"""`digits`: scikit-learn's 1,797 real handwritten digits as a TFDS data set.

Source: E. Alpaydin & C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository (1998), in the 8x8 form that scikit-learn ships.
"""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from train.data.readers.embedded import EmbeddedImages, Example

SIZE, MARGIN = 28, 2
TRAIN, TEST = 1500, 297


class Digits(EmbeddedImages):
    """Images (28, 28, 1) uint8 and labels 0 to 9; 1,500 to train on, 297 to test on, stratified.

    The file is sorted by writer, so the split is random, with a fixed seed.
    """

    encoding = "none"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "8x8 enlarged to 24x24 by bicubic resampling, with a margin of 2."}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return SIZE, SIZE, 1

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[Example]]:
        return {name: self._generate_examples(*rows) for name, rows in split_digits().items()}

    def _generate_examples(self, images: np.ndarray, labels: np.ndarray) -> Iterator[Example]:
        for index, (image, label) in enumerate(zip(images, labels, strict=True)):
            yield index, {"image": enlarge(image.reshape(8, 8)), "label": label}


def split_digits() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """{"train": (images (1500, 64) in 0..16, labels), "test": (images (297, 64), labels)}, stratified."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    train, test = train_test_split(
        np.arange(len(labels)), train_size=TRAIN, test_size=TEST, random_state=0, stratify=labels
    )
    return {name: (images[rows], labels[rows]) for name, rows in (("train", train), ("test", test))}


def enlarge(image: np.ndarray) -> np.ndarray:
    """An image (8, 8) in 0..16 as (28, 28, 1) in 0..255: bicubic to 24x24, with a margin of 2 as in MNIST."""
    from PIL import Image

    small = Image.fromarray((image * 255 / 16).astype(np.uint8))
    side = SIZE - 2 * MARGIN
    inner = small.resize((side, side), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(inner), MARGIN)[..., None]
