"""Tagging the words of sentences: cross-entropy over the words that there are."""

import jax
import jax.numpy as jnp

from train.losses import cross_entropy
from train.state import TrainState, buffers_of, descend
from train.tasks import base
from train.tasks.base import Batch


class Task(base.Task):
    """The model takes words, characters and lengths, and gives a logit for every tag.

    Places with a negative tag, where a sentence has no word, count neither in the loss nor in the accuracy.
    """

    def step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, Batch]:
        def loss_of(params):
            model = self.model(params, state.buffers, noise)
            losses, hits, counted = _judge(model, batch)
            total = counted.sum()
            return losses.sum() / total, (buffers_of(model), hits.sum() / total)

        state, loss, accuracy = descend(state, "", self.transformations[""], loss_of)
        metrics = {"loss": loss, "accuracy": accuracy.astype(loss.dtype)}
        return state._replace(step=state.step + 1), metrics

    def predict(self, state: TrainState, batch: Batch) -> jax.Array:
        """The logits for a batch (N, L, num_tags), in evaluation mode."""
        return _logits(self.blueprint.eval(state.params, state.buffers), batch)

    evaluates = True

    def evaluate(self, state: TrainState, batch: Batch) -> dict[str, jax.Array]:
        """Every sentence by the mean over its words."""
        losses, hits, counted = _judge(self.blueprint.eval(state.params, state.buffers), batch)
        totals = counted.sum(1)
        return {"loss": (losses.sum(1) / totals).sum(), "accuracy": (hits.sum(1) / totals).sum()}


def _judge(model, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
    """(losses, hits, where there is a word), (N, L) each; the first two zero where there is none."""
    logits, tags = _logits(model, batch), batch["tags"]
    counted = tags >= 0
    losses = jnp.where(counted, cross_entropy(logits, jnp.where(counted, tags, 0)), 0)
    return losses, counted & (logits.argmax(-1) == tags), counted


def _logits(model, batch: Batch) -> jax.Array:
    return model(batch["words"], batch["characters"], batch["lengths"])
