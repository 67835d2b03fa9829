"""Tagging the words of sentences: cross-entropy over the words, without the padding."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from train.data.readers.tagged import encode_words
from train.tasks.base import BaseTask
from train.tasks.contract import Answer, Batch
from train.tasks.losses.supervised import cross_entropy
from train.tasks.state import TrainState, Tree, apply_gradients, buffers_of


class Task(BaseTask):
    """The model takes words, characters and lengths, and gives a logit for every tag.

    Positions with a negative tag are padding. They count neither in the loss nor in the accuracy.
    """

    evaluates: ClassVar[bool] = True

    def step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, Batch]:
        def loss_of(params: Tree):
            model = self.training_model(params, state.buffers, noise)
            losses, correct, is_word = _losses(model, batch)
            total = is_word.sum().astype(losses.dtype)
            return losses.sum() / total, (buffers_of(model), correct.sum().astype(losses.dtype) / total)

        state, loss, accuracy = apply_gradients(state, ("",), self.transformations, loss_of)
        metrics = {"loss": loss, "accuracy": accuracy.astype(loss.dtype)}
        return state._replace(step=state.step + 1), metrics

    def predict(self, state: TrainState, batch: Batch) -> jax.Array:
        """The logits (N, L, num_tags) for a batch, in evaluation mode."""
        return _logits(self.model_def.eval(state.params, state.buffers), batch)

    def evaluate(self, state: TrainState, batch: Batch) -> Batch:
        """The sums over the sentences; each sentence contributes the mean over its words."""
        losses, correct, is_word = _losses(self.model_def.eval(state.params, state.buffers), batch)
        totals = is_word.sum(1).astype(losses.dtype)
        corrects = correct.sum(1).astype(losses.dtype)
        return {"loss": (losses.sum(1) / totals).sum(), "accuracy": (corrects / totals).sum()}

    def answer(self, state: TrainState, meta: Mapping[str, Any], **question: Any) -> Answer:
        """The tag of every word of `sentence`, and whether the word was in the training data.

        Errors: ValueError for a sentence without words.
        """
        words = question["sentence"].split()
        if not words:
            raise ValueError("sentence has no words")
        encoded: Any = encode_words([words], meta["vocabulary"])
        logits = np.asarray(self.predict(state, encoded))[0]
        tags = [meta["tags"][index] for index in logits.argmax(-1)]
        tagged = [
            (word, tag, word.lower() in meta["vocabulary"]) for word, tag in zip(words, tags, strict=True)
        ]
        return Answer(
            columns=("word", "tag", ""),
            rows=[(word, tag, "" if known else "never seen") for word, tag, known in tagged],
            values=tagged,
        )


def _losses(model: Any, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(losses, whether the tag is correct, whether there is a word), (N, L) each; 0 and False in padding."""
    logits, tags = _logits(model, batch), batch["tags"]
    is_word = tags >= 0
    losses = jnp.where(is_word, cross_entropy(logits, jnp.where(is_word, tags, 0)), 0)
    return losses, is_word & (logits.argmax(-1) == tags), is_word


def _logits(model: Any, batch: Batch) -> jax.Array:
    return model(batch["words"], batch["characters"], batch["lengths"])
