"""Regression: the mean or the sum of the squared errors."""

import jax
import numpy as np

from train.data.random_keys import IMAGES, rng_key
from train.data.sources import Data, Generated
from train.plotting.points import save_fit, save_scatter
from train.tasks.contract import PathOf
from train.tasks.state import TrainState
from train.tasks.supervised import SupervisedTask

NUM_POINTS = 200  # plotted points of data that is generated
MAX_CURVE_FEATURES = 3  # x, x^2 and x^3 can be plotted as a curve over x; more features cannot


class Task(SupervisedTask):
    """Plots the points and the fitted curve, or, for many features, predictions over targets."""

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        points = data.train
        if isinstance(points, Generated):
            points = jax.device_get(points.generate(rng_key(self.recipe.seed, IMAGES), NUM_POINTS))
        if not isinstance(points, dict) or points["x"].ndim != 2 or points["y"].ndim != 2:
            return
        x, y = points["x"], points["y"]
        predicted = np.asarray(jax.jit(self.predict)(state, {"x": x}))
        if x.shape[1] <= MAX_CURVE_FEATURES:
            save_fit(x[:, 0], y[:, 0], predicted[:, 0], path_of("fit"))
        else:
            save_scatter(y.ravel(), predicted.ravel(), path_of("fit"))
