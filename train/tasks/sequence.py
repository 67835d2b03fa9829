"""Forecasting a time series: the next value at every step, from a window of the last values."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from train.data.sources import Data
from train.plotting.points import save_forecast
from train.recipes import SequenceRecipe
from train.tasks.contract import Answer, Batch, PathOf
from train.tasks.state import TrainState
from train.tasks.supervised import SupervisedTask


class Task(SupervisedTask):
    """The model maps (T, N, window) to (T, N, 1). The task plots real and predicted values."""

    def __init__(self, recipe: SequenceRecipe, model: Any):
        self.require_attributes(recipe, model, "rnn")
        super().__init__(recipe, model)
        features = model.rnn.input_size
        if features != recipe.window:
            raise ValueError(
                f"{recipe.model} takes windows of {features} values, and --window is {recipe.window}: "
                f"add --options input_features {recipe.window}"
            )

    def prepare(self, batch: Batch, key: jax.Array) -> Batch:
        """The windows x (T - window, N, window) and the values that follow, y (T - window, N, 1).

        batch: {"series": (N, T)}.
        """
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
        """The loss of the held-out values, from position `held` on.

        Their windows may begin with earlier values.
        """
        errors = jnp.square(self.predict(state, batch) - batch["y"])[..., 0]  # (T - window, N)
        position = jnp.arange(len(errors))[:, None] + self.recipe.window
        counted = position >= batch["held"]
        return {"loss": (jnp.where(counted, errors, 0).sum(0) / counted.sum(0)).sum()}

    def forecast(self, state: TrainState, series: np.ndarray, ahead: int) -> tuple[np.ndarray, np.ndarray]:
        """(predictions (T - window,) of a scaled series (T,), forecasts (ahead,) of what follows it).

        Each prediction uses the real values before it. Each forecast also uses the forecasts before it.
        """
        steps, window = len(series), self.recipe.window

        @jax.jit
        def run(state: TrainState, padded: jax.Array) -> tuple[jax.Array, jax.Array]:
            def predicted(values):  # (T + ahead,) -> (T + ahead - window,); no prediction uses later values
                return self.predict(state, self._windows(values[None]))[:, 0, 0]

            def extend(number, values):
                return values.at[steps + number].set(predicted(values)[steps + number - window])

            return predicted(padded), jax.lax.fori_loop(0, ahead, extend, padded)[steps:]

        dtype = jax.tree.leaves(state.params)[0].dtype
        known, ahead_of = run(state, jnp.pad(jnp.asarray(series, dtype), (0, ahead)))
        return np.asarray(known)[: steps - window], np.asarray(ahead_of)

    def answer(self, state: TrainState, meta: Mapping[str, Any], **question: Any) -> Answer:
        """The forecast of the series that the model was trained on.

        steps_ahead: how many values to forecast, 12 by default. The answer saves forecast.json and
        forecast.png. Errors: ValueError for fewer than one step.
        """
        steps_ahead = question.get("steps_ahead", 12)
        if steps_ahead < 1:
            raise ValueError(f"steps_ahead must be at least 1, got {steps_ahead}")
        real, scale, held, name = np.asarray(meta["series"]), meta["scale"], meta["held"], meta["columns"][0]
        predicted, ahead = (values * scale for values in self.forecast(state, real / scale, steps_ahead))
        errors = _errors(real, predicted, held)
        values = {
            "name": name, "held": held, "real": real.tolist(), "predicted": predicted.tolist(),
            "ahead": ahead.tolist(), "errors": errors,
        }  # fmt: skip

        def save(folder: Path) -> list[str]:
            (folder / "forecast.json").write_text(json.dumps(values, indent=2) + "\n")
            save_forecast(real, predicted, ahead, held, folder / "forecast.png", name)
            return ["forecast.json", "forecast.png"]

        described = ", ".join(f"{error:.4g} {part}" for part, error in errors.items())
        return Answer(
            columns=("steps ahead", name),
            rows=[(str(step), f"{value:.4g}") for step, value in enumerate(ahead, 1)],
            values=values,
            note=f"one-step errors, root mean square: {described}",
            save=save,
        )

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        assert isinstance(data.test, dict)
        series, scale = data.test["series"][0], data.meta["scale"]
        predicted, _ = self.forecast(state, series, 0)
        save_forecast(
            series * scale, predicted * scale, np.empty(0), int(data.test["held"][0]), path_of("forecast"),
            data.meta["columns"][0],
        )  # fmt: skip


def _errors(real: np.ndarray, predicted: np.ndarray, held: int) -> dict[str, float]:
    """The root mean squares of the one-step errors, before and after the position `held`."""
    misses = predicted - real[-len(predicted) :]
    trained = len(misses) - (len(real) - held)
    parts = {"trained on": misses[:trained], "held out": misses[trained:]}
    return {part: float(np.sqrt(np.square(errors).mean())) for part, errors in parts.items()}
