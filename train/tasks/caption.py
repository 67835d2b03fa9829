"""Writing a caption for an image."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from train.data.images import read_images
from train.data.readers.sequences.vocabulary import decode_tokens
from train.data.sources import Data, take_rows
from train.recipes import image_shape
from train.tasks.contract import Answer, PathOf
from train.tasks.image_texts import NUM_SHOWN, Alternatives, Page, answer_with_texts
from train.tasks.state import TrainState
from train.tasks.writing import WritingTask

PAGE = Page("captions.png", columns=3, cell=(3.4, 2.0))
SHAPE = (64, 64, 3)  # of a user's image, if the data set has images of several sizes


class Task(WritingTask):
    """The model writes "caption" for "image"."""

    inputs, target = "image", "caption"

    def captions(
        self, state: TrainState, images: np.ndarray, vocabulary: Sequence[str], top: int = 1
    ) -> list[Alternatives]:
        """The `top` most probable captions of each image (N, H, W, 3) uint8, with their log-probabilities.

        Errors: ValueError for a `top` below 1.
        """
        prepared = self.prepare_test({"image": jnp.asarray(images)})["image"]
        found = self.alternatives(state, prepared, top)
        return [[(decode_tokens(row, vocabulary, " "), score) for row, score in one] for one in found]

    def answer(self, state: TrainState, meta: Mapping[str, Any], **question: Any) -> Answer:
        """Captions of images of the test split, or of the user's images.

        positions, examples: images of the test split. files: paths of images, which are resized and cropped
        to the size of the training images. top: how many captions to give for each image, 1 by default; beam
        search finds them. The answer saves captions.png.
        Errors: ValueError for an image that cannot be read, and for a `top` below 1.
        """
        vocabulary, truths = meta["vocabulary"], []
        if "examples" in question:
            images = question["examples"]["image"]
            truths = [decode_tokens(row, vocabulary, " ") for row in question["examples"]["caption"]]
        else:
            shape = image_shape(self.recipe) or SHAPE
            images = read_images(question["files"], shape)
        names = [str(name) for name in question.get("positions") or question["files"]]
        found = self.captions(state, images, vocabulary, question.get("top", 1))
        return answer_with_texts(names, images, found, truths, PAGE)

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        split: Any = data.train if data.test is None else data.test
        vocabulary = data.meta["vocabulary"]
        examples = take_rows(split, range(min(NUM_SHOWN, len(split["image"]))))
        written = [one[0][0] for one in self.captions(state, examples["image"], vocabulary)]
        truths = [decode_tokens(row, vocabulary, " ") for row in examples["caption"]]
        PAGE.save(examples["image"], written, truths, path_of("captions"))
