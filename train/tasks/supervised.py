"""Learning from examples with an answer each: one optimizer down one loss."""

from typing import Any

import jax
import jax.numpy as jnp

from train.losses import PER_EXAMPLE, SUMMED, hits
from train.state import TrainState, buffers_of, descend
from train.tasks.base import Batch, Task

AUXILIARY = 0.3  # the weight of an auxiliary head's loss, as in "Going Deeper with Convolutions" (2015)


def inputs_of(batch: Batch) -> jax.Array:
    """What the model sees of a batch: its pictures, or the x of a table."""
    return batch["image"] if "image" in batch else batch["x"]


def targets_of(batch: Batch) -> jax.Array:
    """What it should say: labels, or the y of a table."""
    return batch["label"] if "label" in batch else batch["y"]


class Supervised(Task):
    """A model that takes a batch's inputs and gives outputs, or (outputs, auxiliary outputs ...)."""

    evaluates = True
    counts_hits: bool

    def step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, Batch]:
        targets = targets_of(batch)

        def loss_of(params):
            model = self.model(params, state.buffers, noise)
            outputs = model(inputs_of(batch))
            outputs, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = self._loss(outputs, targets)
            for more in auxiliary:
                loss += AUXILIARY * self._loss(more, targets)
            return loss, (buffers_of(model), outputs)

        state, loss, outputs = descend(state, "", self.transformations[""], loss_of)
        metrics = {"loss": loss}
        if self.counts_hits:
            metrics["accuracy"] = hits(outputs, targets).mean(dtype=loss.dtype)
        return state._replace(step=state.step + 1), metrics

    def predict(self, state: TrainState, batch: Batch) -> jax.Array:
        """The outputs for a batch, in evaluation mode."""
        return self.blueprint.eval(state.params, state.buffers)(inputs_of(batch))

    def evaluate(self, state: TrainState, batch: Batch) -> dict[str, jax.Array]:
        outputs, targets = self.predict(state, batch), targets_of(batch)
        sums = {"loss": self._per_example(outputs, targets).sum()}
        if self.counts_hits:
            sums["accuracy"] = hits(outputs, targets).sum()
        return sums

    def _per_example(self, outputs: jax.Array, targets: jax.Array) -> Any:
        return PER_EXAMPLE[self.recipe.loss](outputs, targets)

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        reduce = jnp.sum if self.recipe.loss in SUMMED else jnp.mean
        return reduce(self._per_example(outputs, targets))
