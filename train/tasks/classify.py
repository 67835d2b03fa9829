"""Classification: cross-entropy on logits, NLL on log-probabilities, or BCE on one probability."""

import jax
import numpy as np

from train.data.sources import Data
from train.plotting.points import save_boundary
from train.tasks.contract import Batch, PathOf
from train.tasks.losses.supervised import predicted_class
from train.tasks.state import TrainState
from train.tasks.supervised import SupervisedTask, targets_of


class Task(SupervisedTask):
    """Reports the accuracy; for points of the plane it plots the decision boundary."""

    reports_accuracy = True

    def classify(self, state: TrainState, batch: Batch) -> jax.Array:
        """The predicted classes (N,) int of a prepared batch."""
        return predicted_class(self.predict(state, batch)).astype(int)

    def labels(self, batch: Batch) -> jax.Array:
        """The true classes (N,) of a batch."""
        return targets_of(batch).reshape(-1)

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        if not isinstance(data.train, dict) or "x" not in data.train:
            return
        x, y = data.train["x"], data.train["y"]
        if x.shape[1:] != (2,) or y.shape[1:] != (1,):
            return

        def probability(points: np.ndarray) -> np.ndarray:
            return np.asarray(jax.jit(self.predict)(state, {"x": points}))[:, 0]

        names = data.meta.get("columns", ("x1", "x2"))
        save_boundary(x, y[:, 0], probability, path_of("boundary"), names)
