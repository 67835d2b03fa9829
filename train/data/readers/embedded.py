"""The base of the embedded TFDS builders: labelled images of one shape, in a fixed order."""

import numpy as np
import tensorflow_datasets as tfds


class EmbeddedImages(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Images `image_shape` in uint8 with integer labels. A subclass generates the examples.

    encoding: how TFDS stores an image; "bytes" keeps it as one string of bytes.
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
