"""The base class of the embedded TFDS builders: labelled images of one shape, in a fixed order."""

from typing import Any

import numpy as np
import tensorflow_datasets as tfds

Example = tuple[int, dict[str, Any]]
"""The key of an example in TFDS, and its {"image": ..., "label": ...}."""


class EmbeddedImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """uint8 images of the shape `image_shape` with integer labels. A subclass generates the examples.

    encoding: how TFDS stores an image; "bytes" stores it as one string of bytes.
    """

    encoding = "bytes"

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of every image."""
        raise NotImplementedError

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Tensor(shape=self.image_shape, dtype=np.uint8, encoding=self.encoding),
                "label": tfds.features.Scalar(dtype=np.int64),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)
