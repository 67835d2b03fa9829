"""Writing a caption for an image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from train.data.images import fit_image, open_image
from train.data.readers.sequences.vocabulary import decode_tokens
from train.data.sources import Arrays, Data, take_rows
from train.plotting.classification import save_predictions
from train.tasks.contract import Answer, PathOf
from train.tasks.state import TrainState
from train.tasks.writing import WritingTask

NUM_SHOWN = 12  # images on the page that is saved in training


class Task(WritingTask):
    """The model writes "caption" for "image"."""

    inputs, target = "image", "caption"

    def captions(
        self, state: TrainState, images: np.ndarray, vocabulary: Sequence[str], top: int = 1
    ) -> list[list[tuple[str, float]]]:
        """For each of the images (N, H, W, 3) uint8 the `top` most probable captions, with log-probabilities.

        Errors: ValueError for a `top` below 1.
        """
        prepared = self.prepare_test({"image": images})["image"]
        found = self.alternatives(state, prepared, top)
        return [[(decode_tokens(row, vocabulary, " "), score) for row, score in one] for one in found]

    def answer(self, state: TrainState, meta: Mapping[str, Any], **question: Any) -> Answer:
        """Captions for images of the test split, or for the user's images.

        positions, examples: images of the test split. files: paths of images, which are resized to the size of
        the training images. top: how many captions to give for each image, 1 by default; beam search finds
        them. The answer saves captions.png.
        Errors: ValueError for an image that cannot be read, and for a `top` below 1.
        """
