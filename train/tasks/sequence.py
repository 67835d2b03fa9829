"""Forecasting a time series: at every step the next value from a window of the last ones."""

from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from train.config import SequenceRecipe
from train.plots import figure
from train.state import TrainState
from train.tasks.base import Batch, PathOf
from train.tasks.supervised import Supervised


class Task(Supervised):
    """The model takes (T, N, window) and gives (T, N, 1). Draws real and predicted values."""

    counts_hits = False

    def __init__(self, recipe: SequenceRecipe, model: nnx.Module):
        super().__init__(recipe, model)
        features = model.rnn.input_size
        if features != recipe.window:
            raise ValueError(
                f"{recipe.model} takes windows of {features} values, and --window is {recipe.window}: "
                f"add --options input_features {recipe.window}"
            )

    def prepare(self, batch: Batch, key: jax.Array) -> Batch:
        """{"series": (N, T)} -> x (T - window, N, window) and y (T - window, N, 1), what follows each."""
        return {name: batch[name] for name in batch if name != "series"} | self._windows(batch["series"])

    def prepare_test(self, batch: Batch) -> Batch:
        return self.prepare(batch, jax.random.key(0))

    def _windows(self, series: jax.Array) -> Batch:
        window, steps = self.recipe.window, series.shape[1] - self.recipe.window
        if steps < 1:
            raise ValueError(f"--window is {window}, and the series to train on has {series.shape[1]} values")
        rows = jnp.arange(steps)[:, None] + jnp.arange(window + 1)
        values = series.T[rows].swapaxes(1, 2)  # (T - window, N, window + 1)
        return {"x": values[..., :-1], "y": values[..., -1:]}

    def evaluate(self, state: TrainState, batch: Batch) -> dict[str, jax.Array]:
        """The loss where the series is held out: from the position `held` on, in the light of all before."""
        errors = jnp.square(self.predict(state, batch) - batch["y"])[..., 0]  # (T - window, N)
        position = jnp.arange(len(errors))[:, None] + self.recipe.window
        counted = position >= batch["held"]
        return {"loss": (jnp.where(counted, errors, 0).sum(0) / counted.sum(0)).sum()}

    def forecast(self, state: TrainState, series: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray]:
        """A scaled series (T,) -> (predictions (T - window,) of its values, forecasts (ahead,) of the next).

        Each prediction is from the real values before it; each forecast from the forecasts before it, too.
        """
        steps, window = len(series), self.recipe.window

        @jax.jit
        def run(state: TrainState, padded: jax.Array) -> tuple[jax.Array, jax.Array]:
            def predicted(values):  # (T + ahead,) -> (T + ahead - window,); none looks ahead
                return self.predict(state, self._windows(values[None]))[:, 0, 0]

            def extend(number, values):
                return values.at[steps + number].set(predicted(values)[steps + number - window])

            return predicted(padded), jax.lax.fori_loop(0, ahead, extend, padded)[steps:]

        dtype = jax.tree.leaves(state.params)[0].dtype
        known, ahead_of = run(state, jnp.pad(jnp.asarray(series, dtype), (0, ahead)))
        return np.asarray(known)[: steps - window], np.asarray(ahead_of)

    def save_pictures(self, state: TrainState, data: Any, path_of: PathOf) -> None:
        series, scale = data.test["series"][0], data.meta["scale"]
        predicted, _ = self.forecast(state, series, 0)
        save_forecast(
            series * scale, predicted * scale, np.empty(0), int(data.test["held"][0]), path_of("forecast"),
            data.meta["columns"][0],
        )  # fmt: skip


def save_forecast(
    series: np.ndarray, predicted: np.ndarray, ahead: np.ndarray, held: int, path: Path, name: str
) -> None:
    """A series (T,), the predictions of its last values, and what is forecast after it, which may be none.

    held: the position from which values were held out of the training.
    """
    steps = len(series)
    with figure(path, 1, 1, (9, 4)) as (axes,):
        axes.axvspan(held - 0.5, steps - 0.5, color="0.93", label="held out")
        axes.plot(series, "C0", label="real", lw=1.5)
        axes.plot(np.arange(steps - len(predicted), steps), predicted, "C1", label="predicted", lw=1.5)
        if len(ahead):
            joined = np.concatenate([series[-1:], ahead])
            axes.plot(np.arange(steps - 1, steps + len(ahead)), joined, "C2--", label="forecast", lw=1.5)
        axes.set(xlabel="step", ylabel=name)
        axes.legend(frameon=False)
