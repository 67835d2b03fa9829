"""Reading the image of a line as its text, with the CTC loss: the places of the symbols are not given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from train.data.images import read_image
from train.data.readers.sequences.lines import decode_symbols, encode_line
from train.data.sources import Arrays, Data, take_rows
from train.recipes import Recipe
from train.tasks.base import BaseTask
from train.tasks.contract import Answer, Batch, PathOf
from train.tasks.image_texts import NUM_SHOWN, Alternatives, Page, answer_with_texts
from train.tasks.losses.ctc import ctc, mean_ctc, per_label
from train.tasks.state import TrainState, Tree, apply_gradients, buffers_of

PIXELS = 4  # columns of pixels in one step of the model
WIDTH = 8  # beginnings that beam search keeps, if the user does not ask for more
PAGE = Page("lines.png", columns=2, cell=(4.0, 1.0))


class Task(BaseTask):
    """The model maps images and their widths to log-probabilities of the symbols at every step."""

    evaluates: ClassVar[bool] = True

    def __init__(self, recipe: Recipe, model: nnx.Module):
        self.require_attributes(recipe, model, "greedy", "beam")
        super().__init__(recipe, model)

    def step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, Batch]:
        def loss_of(params: Tree):
            model = self.training_model(params, state.buffers, noise)
            outputs = model(batch["image"], batch["width"])
            # A line that is too narrow for its labels cannot be learned, and does not stop the training.
            loss = mean_ctc(outputs, batch["label"], batch["width"] // PIXELS, batch["length"], True)
            return loss, (buffers_of(model), None)

        state, loss, _ = apply_gradients(state, ("",), self.transformations, loss_of)
        return state._replace(step=state.step + 1), {"loss": loss}

    def evaluate(self, state: TrainState, batch: Batch) -> Batch:
        """The sums over the lines of the loss per symbol, of the lines that the most probable path reads
        without an error, of their edit distances, and of their symbols.
        """
        model = self.model_def.eval(state.params, state.buffers)
        steps, lengths = batch["width"] // PIXELS, batch["length"]
        losses = ctc(model(batch["image"], batch["width"]), batch["label"], steps, lengths, True)
        edits = edit_distances(model.greedy(batch["image"], batch["width"]), batch["label"], lengths)
        return {
            "loss": per_label(losses, lengths).sum(), "exact": (edits == 0).sum(), "edits": edits.sum(),
            "symbols": lengths.sum(),
        }  # fmt: skip

    def derived(self, record: Mapping[str, float]) -> dict[str, float]:
        """The character error rates: edits per symbol."""
        prefixes = [name.removesuffix("edits") for name in record if name.endswith("edits")]
        return {
            f"{prefix}character_error_rate": record[f"{prefix}edits"] / record[f"{prefix}symbols"]
            for prefix in prefixes
        }

    def read(
        self, state: TrainState, lines: Arrays, symbols: Sequence[str], top: int = 1
    ) -> list[Alternatives]:
        """The `top` most probable texts of each line, with their log-probabilities.

        lines: "image" (N, 32, W, 1) uint8 and "width" (N,). Errors: ValueError for a `top` below 1.
        """
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")

        @jax.jit
        def call(state: TrainState, batch: Batch) -> tuple[jax.Array, jax.Array]:
            batch = self.prepare_test(batch)
            model = self.model_def.eval(state.params, state.buffers)
            return model.beam(batch["image"], batch["width"], max(top, WIDTH))

        batch = {name: jnp.asarray(lines[name]) for name in ("image", "width")}
        found = zip(*map(np.asarray, call(state, batch)), strict=True)
        return [
            [
                (decode_symbols(row, symbols), float(score))
                for row, score in zip(*one, strict=True)
                if np.isfinite(score)
            ][:top]
            for one in found
        ]

    def answer(self, state: TrainState, meta: Mapping[str, Any], **question: Any) -> Answer:
        """The texts of lines of the test split, or of the user's images of lines.

        positions, examples: lines of the test split. files: paths of images. top: how many texts to give for
        each line, 1 by default; beam search finds them. The answer saves lines.png.
        Errors: ValueError for an image that cannot be read or is too narrow, and for a `top` below 1.
        """
        symbols, truths = meta["symbols"], []
        if "examples" in question:
            lines = question["examples"]
            truths = [decode_symbols(label, symbols) for label in lines["label"]]
        else:
            lines = _stack([_read_line(file) for file in question["files"]])
        names = [str(name) for name in question.get("positions") or question["files"]]
        found = self.read(state, lines, symbols, question.get("top", 1))
        return answer_with_texts(names, lines["image"], found, truths, PAGE)

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        split: Any = data.train if data.test is None else data.test
        lines, symbols = take_rows(split, range(min(NUM_SHOWN, len(split["image"])))), data.meta["symbols"]
        read = [one[0][0] for one in self.read(state, lines, symbols)]
        truths = [decode_symbols(label, symbols) for label in lines["label"]]
        PAGE.save(lines["image"], read, truths, path_of("lines"))


def edit_distances(read: jax.Array, labels: jax.Array, lengths: jax.Array) -> jax.Array:
    """The least number of symbols (N,) to insert, delete or replace in `read` (N, T) to get the labels.

    read: padded with 0. labels: (N, L). lengths: (N,), how many labels count.
    """
    places = jnp.arange(labels.shape[1] + 1, dtype=jnp.int32)

    def step(row: jax.Array, symbol: jax.Array) -> tuple[jax.Array, None]:
        # row: the distances (N, L + 1) of what was read so far from the first labels.
        replaced = row[:, :-1] + (symbol[:, None] != labels).astype(jnp.int32)
        new = jnp.concatenate([row[:, :1] + 1, jnp.minimum(row[:, 1:] + 1, replaced)], axis=1)
        new = lax.cummin(new - places, axis=1) + places  # insertions
        return jnp.where(symbol[:, None] != 0, new, row), None

    start = jnp.broadcast_to(places, (len(labels), len(places)))
    row, _ = lax.scan(step, start, read.T)
    return jnp.take_along_axis(row, lengths[:, None], axis=1)[:, 0]


def _read_line(file: Path) -> Arrays:
    """One line. Errors: ValueError for a file that cannot be read, and a line of less than one step."""
    line = encode_line(read_image(file))
    if line["image"].shape[2] < PIXELS:
        raise ValueError(f"{file} is too narrow: {line['image'].shape[2]} pixels at a height of 32")
    return line


def _stack(lines: Sequence[Arrays]) -> Arrays:
    """Lines of different widths as one batch, padded on the right."""
    longest = max(line["image"].shape[2] for line in lines)
    images = [
        np.pad(line["image"], ((0, 0), (0, 0), (0, longest - line["image"].shape[2]), (0, 0)))
        for line in lines
    ]
    return {"image": np.concatenate(images), "width": np.concatenate([line["width"] for line in lines])}
