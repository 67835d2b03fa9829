"""Writing a text as another text, such as a date in words as a date in numbers."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flax_models.decoding import Writer
from train.data.readers.sequences.vocabulary import decode_tokens, encode_text, plain_text
from train.data.sources import Data, take_rows
from train.plotting.attention import Attention, save_attention
from train.recipes import Recipe
from train.tasks.contract import Answer, PathOf
from train.tasks.state import TrainState
from train.tasks.writing import WIDTH, WritingTask, written_symbols

NUM_SHOWN = 4  # examples in a picture of the attention


class Task(WritingTask):
    """The model writes "target" for "source"; the task plots where its attention lies."""

    inputs, target = "source", "target"

    def __init__(self, recipe: Recipe, model: nnx.Module):
        self.require_attributes(recipe, model, "attend")
        super().__init__(recipe, model)

    def attention(
        self, state: TrainState, source: np.ndarray, written: np.ndarray, meta: Mapping[str, Any]
    ) -> list[Attention]:
        """Where the attention lies while the model writes the sequences (N, T) for the sources (N, S)."""

        @jax.jit
        def call(state: TrainState, source: jax.Array, target: jax.Array) -> jax.Array:
            return self.model_def.eval(state.params, state.buffers).attend(source, target)[1]

        target = np.insert(written, 0, Writer.START, axis=1)[:, :-1]
        weights = np.asarray(call(state, jnp.asarray(source), jnp.asarray(target)))
        found = []
        for row, sequence, of_row in zip(source, written, weights, strict=True):
            read = [meta["source_vocabulary"][index] for index in row[: max(1, np.count_nonzero(row))]]
            symbols = written_symbols(sequence, meta["target_vocabulary"])
            found.append(Attention(read, symbols, of_row[: len(symbols), : len(read)]))
        return found

    def answer(self, state: TrainState, meta: Mapping[str, Any], **question: Any) -> Answer:
        """The most probable texts for `text`, with their log-probabilities; the first one is the answer.

        top: how many to give, 5 by default. They are found by beam search. The answer saves attention.png.
        Errors: ValueError for an empty text, and for a `top` below 1.
        """
        text, top = plain_text(question["text"]), question.get("top", WIDTH)
        source = encode_text(text, meta["source_vocabulary"])
        (found,) = self.alternatives(state, source, top)
        answers = [(decode_tokens(sequence, meta["target_vocabulary"]), score) for sequence, score in found]
        unseen = sorted(set(text) - set(meta["source_vocabulary"]))

        def save(folder: Path) -> list[str]:
            (attention,) = self.attention(state, source, found[0][0][None], meta)
            save_attention([Attention(list(text), *attention[1:])], folder / "attention.png")
            return ["attention.png"]

        return Answer(
            columns=(f"for {text!r}", "probability", "log-probability"),
            rows=[(answer, f"{np.exp(score):.4f}", f"{score:.4f}") for answer, score in answers],
            values=answers,
            note=f"never seen in training: {' '.join(map(repr, unseen))}" if unseen else "",
            save=save,
        )

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        split: Any = data.train if data.test is None else data.test
        source = take_rows(split, range(NUM_SHOWN))["source"]
        written = self.write(state, source)
        save_attention(self.attention(state, source, written, data.meta), path_of("attention"))
