"""Telling classes apart: cross-entropy on logits, NLL on log-probabilities, or BCE on one probability."""

from typing import Any

import jax
import numpy as np

from train.plots import save_boundary
from train.state import TrainState
from train.tasks.base import PathOf
from train.tasks.supervised import Supervised


class Task(Supervised):
    """Counts hits; on points of the plane it draws where the decision falls."""

    counts_hits = True

    def save_pictures(self, state: TrainState, data: Any, path_of: PathOf) -> None:
        x = data.train.get("x") if isinstance(data.train, dict) else None
        if x is None or x.shape[1:] != (2,):
            return

        def decide(points: np.ndarray) -> np.ndarray:
            return np.asarray(jax.jit(self.predict)(state, {"x": points}))[:, 0]

        names = data.meta.get("columns", ("x1", "x2"))
        save_boundary(x, data.train["y"][:, 0], decide, path_of("boundary"), names)
