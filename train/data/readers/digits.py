"""`digits`: scikit-learn's 1,797 real handwritten digits as a TFDS data set.

Source: E. Alpaydin & C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning
Repository (1998), in the 8x8 form that scikit-learn ships.
"""

from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from train.data.readers.embedded import EmbeddedImages

SIZE, MARGIN = 28, 2
TRAIN, TEST = 1500, 297


class Digits(EmbeddedImages):
    """Images (28, 28, 1) uint8 and labels 0 to 9; 1,500 to train, 297 to test, stratified.

    The file is ordered by writer, so the split is drawn at random, with a fixed seed.
    """

    encoding = "none"
    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "8x8 brought to 24x24 by bicubic resampling, in a margin of 2."}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return SIZE, SIZE, 1

    def _split_generators(self, dl_manager):
        return {name: self._generate_examples(*rows) for name, rows in split_digits().items()}

    def _generate_examples(self, images, labels):
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
    """(8, 8) in 0..16 -> (28, 28, 1) in 0..255: bicubic to 24x24, in a margin of 2 as MNIST has one."""
    from PIL import Image

    small = Image.fromarray((image * 255 / 16).astype(np.uint8))
    inner = small.resize((SIZE - 2 * MARGIN,) * 2, Image.Resampling.BICUBIC)
    return np.pad(np.asarray(inner), MARGIN)[..., None]
