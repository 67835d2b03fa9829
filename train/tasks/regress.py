"""Fitting numbers: the mean or the sum of the squared errors."""

from typing import Any

import jax
import numpy as np

from train.data.streams import PICTURES, stream
from train.plots import save_fit, save_scatter
from train.state import TrainState
from train.tasks.base import PathOf
from train.tasks.supervised import Supervised

POINTS = 200  # drawn from data without end
CURVE_FEATURES = 3  # x and its powers make a curve; more features do not


class Task(Supervised):
    """Draws the points and the fitted curve, or, of many features, targets against predictions."""

    counts_hits = False

    def save_pictures(self, state: TrainState, data: Any, path_of: PathOf) -> None:
        points = data.train
        if not isinstance(points, dict):
            points = jax.device_get(points.generate(stream(self.recipe.seed, PICTURES), POINTS))
        x, y = points["x"], points["y"]
        predicted = np.asarray(jax.jit(self.predict)(state, {"x": x}))
        if x.shape[1] <= CURVE_FEATURES:
            save_fit(x[:, 0], y[:, 0], predicted[:, 0], path_of("fit"))
        else:
            save_scatter(y.ravel(), predicted.ravel(), path_of("fit"))
