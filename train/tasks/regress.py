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


class Task(SupervisedTask):
    """Plots the points and the fitted curve, or, for several features, predictions over targets."""

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        points = data.train
        if isinstance(points, Generated):
            points = jax.device_get(points.generate(rng_key(self.recipe.seed, IMAGES), NUM_POINTS))
        if not isinstance(points, dict) or points["x"].ndim != 2 or points["y"].ndim != 2:
            return
        x, y = points["x"], points["y"]
        predicted = np.asarray(jax.jit(self.predict)(state, {"x": x}))
        is_curve = np.allclose(x, x[:, :1] ** np.arange(1, x.shape[1] + 1), rtol=1e-4)  # x or x, x^2, x^3 ...
        if is_curve:
            save_fit(x[:, 0], y[:, 0], predicted[:, 0], path_of("fit"))
        else:
            save_scatter(y.ravel(), predicted.ravel(), path_of("fit"))
