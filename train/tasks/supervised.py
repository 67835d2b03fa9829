"""Learning from examples with one target each: one optimizer on one loss."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from train.tasks.base import BaseTask
from train.tasks.contract import Batch
from train.tasks.losses.supervised import PER_EXAMPLE, SUMMED, is_correct
from train.tasks.state import TrainState, Tree, apply_gradients, buffers_of

AUXILIARY_WEIGHT = (
    0.3  # weight of the loss of an auxiliary head, as in "Going Deeper with Convolutions" (2015)
)


def inputs_of(batch: Batch) -> jax.Array:
    """The inputs of the model: the images of a batch, or the x of a table."""
    return batch["image"] if "image" in batch else batch["x"]


def targets_of(batch: Batch) -> jax.Array:
    """The targets: the labels of a batch, or the y of a table."""
    return batch["label"] if "label" in batch else batch["y"]


class SupervisedTask(BaseTask):
    """A model that maps the inputs of a batch to outputs, or to (outputs, auxiliary outputs ...).

    reports_accuracy: whether the accuracy is a metric in addition to the loss.
    """

    evaluates: ClassVar[bool] = True
    reports_accuracy: ClassVar[bool] = False

    def step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, Batch]:
        targets = targets_of(batch)

        def loss_of(params: Tree):
            model = self.training_model(params, state.buffers, noise)
            outputs = self.outputs_of(model, batch)
            outputs, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
            loss = self._loss(outputs, targets)
            for extra in auxiliary:
                loss += AUXILIARY_WEIGHT * self._loss(extra, targets)
            return loss, (buffers_of(model), outputs)

        state, loss, outputs = apply_gradients(
            state, tuple(self.transformations), self.transformations, loss_of
        )
        metrics = {"loss": loss}
        if self.reports_accuracy:
            metrics["accuracy"] = is_correct(outputs, targets).mean(dtype=loss.dtype)
        return state._replace(step=state.step + 1), metrics

    def outputs_of(self, model: Any, batch: Batch) -> Any:
        """What the model returns for a batch."""
        return model(inputs_of(batch))

    def predict(self, state: TrainState, batch: Batch) -> jax.Array:
        """The outputs for a prepared batch, in evaluation mode."""
        return self.outputs_of(self.model_def.eval(state.params, state.buffers), batch)

    def evaluate(self, state: TrainState, batch: Batch) -> Batch:
        outputs, targets = self.predict(state, batch), targets_of(batch)
        sums = {"loss": self._per_example(outputs, targets).sum()}
        if self.reports_accuracy:
            sums["accuracy"] = is_correct(outputs, targets).sum()
        return sums

    def _per_example(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        return PER_EXAMPLE[self.recipe.loss](outputs, targets)

    def _loss(self, outputs: jax.Array, targets: jax.Array) -> jax.Array:
        reduce = jnp.sum if self.recipe.loss in SUMMED else jnp.mean
        return reduce(self._per_example(outputs, targets))
