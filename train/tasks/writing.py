"""What the tasks of networks that write a sequence share: teacher forcing, and evaluation by greedy decoding.

In training, each step of the sequence gets the true symbol before it. The symbols are integers; those of
`flax_models.decoding.Writer` mark padding, start and end.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flax_models.decoding import Writer
from train.recipes import Recipe
from train.tasks.base import BaseTask
from train.tasks.contract import Batch
from train.tasks.losses.supervised import cross_entropy
from train.tasks.state import TrainState, Tree, apply_gradients, buffers_of

MAX_LENGTH = 64  # symbols of an answer to a user; decoding stops when all sequences have ended
WIDTH = 5  # sequences that beam search keeps, if the user does not ask for more


class WritingTask(BaseTask):
    """The model takes inputs and all symbols of a target but the last, and gives logits of the next ones.

    inputs, target: the names of their arrays in a batch. Padding in the target counts neither in the loss
    nor in the accuracy.
    """

    evaluates: ClassVar[bool] = True
    inputs: ClassVar[str]
    target: ClassVar[str]

    def __init__(self, recipe: Recipe, model: nnx.Module):
        self.require_attributes(recipe, model, "greedy", "beam")
        super().__init__(recipe, model)

    def step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, Batch]:
        def loss_of(params: Tree):
            model = self.training_model(params, state.buffers, noise)
            losses, correct, counted = self._losses(model, batch)
            total = counted.sum().astype(losses.dtype)
            return losses.sum() / total, (buffers_of(model), correct.sum().astype(losses.dtype) / total)

        state, loss, accuracy = apply_gradients(state, ("",), self.transformations, loss_of)
        return state._replace(step=state.step + 1), {"loss": loss, "accuracy": accuracy}

    def evaluate(self, state: TrainState, batch: Batch) -> Batch:
        """The sums over the examples of the mean loss and accuracy of the symbols, and the number of exact
        sequences: those that greedy decoding writes without an error.
        """
        model = self.model_def.eval(state.params, state.buffers)
        losses, correct, counted = self._losses(model, batch)
        totals = counted.sum(1).astype(losses.dtype)
        target = batch[self.target][:, 1:]
        written = model.greedy(batch[self.inputs], target.shape[1])
        return {
            "loss": (losses.sum(1) / totals).sum(),
            "accuracy": (correct.sum(1).astype(losses.dtype) / totals).sum(),
            "exact": (written == target).all(1).sum(),
        }

    def write(self, state: TrainState, inputs: np.ndarray) -> np.ndarray:
        """The sequences (N, MAX_LENGTH) that greedy decoding writes for prepared inputs (N, ...)."""

        @jax.jit
        def call(state: TrainState, inputs: jax.Array) -> jax.Array:
            return self.model_def.eval(state.params, state.buffers).greedy(inputs, MAX_LENGTH)

        return np.asarray(call(state, jnp.asarray(inputs)))

    def alternatives(self, state: TrainState, inputs: Any, top: int) -> list[list[tuple[np.ndarray, float]]]:
        """The `top` most probable sequences for each of the inputs (N, ...), with their log-probabilities.

        They are found by beam search. Errors: ValueError for a `top` below 1.
        """
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")

        @jax.jit
        def call(state: TrainState, inputs: jax.Array) -> tuple[jax.Array, jax.Array]:
            model = self.model_def.eval(state.params, state.buffers)
            return model.beam(inputs, max(top, WIDTH), MAX_LENGTH)

        found = zip(*map(np.asarray, call(state, jnp.asarray(inputs))), strict=True)
        return [
            [(row, float(score)) for row, score in zip(*one, strict=True) if np.isfinite(score)][:top]
            for one in found
        ]

    def _losses(self, model: Any, batch: Batch) -> tuple[jax.Array, jax.Array, jax.Array]:
        """(losses, whether the symbol is correct, whether it counts), (N, T - 1) each.

        The losses are 0 in padding, which does not count.
        """
        symbols = batch[self.target][:, 1:]
        logits = model(batch[self.inputs], batch[self.target][:, :-1])
        counted = symbols != Writer.PADDING
        losses = jnp.where(counted, cross_entropy(logits, symbols), 0)
        return losses, counted & (logits.argmax(-1) == symbols), counted


def written_symbols(sequence: np.ndarray, vocabulary: Sequence[str]) -> list[str]:
    """The symbols of a sequence (T,) before its end, as text."""
    ends = np.flatnonzero((sequence == Writer.END) | (sequence == Writer.PADDING))
    stop = int(ends[0]) if len(ends) else len(sequence)
    return [vocabulary[int(index)] for index in sequence[:stop]]
