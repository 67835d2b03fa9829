"""Predicting the next word: cross-entropy, and what it means as perplexity."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from train.plots import figure
from train.state import TrainState
from train.tasks.base import PathOf
from train.tasks.supervised import Supervised

SHOWN = 60  # words of the text in the picture


class Task(Supervised):
    """Draws how likely the model holds the words that do come, along the beginning of the text."""

    counts_hits = True

    def derived(self, record: Mapping[str, float]) -> dict[str, float]:
        """What follows from the means of a metrics record: perplexity, exp of the mean loss."""
        return {
            name.replace("loss", "perplexity"): math.exp(min(value, 700.0))
            for name, value in record.items()
            if name.endswith("loss")
        }

    def probabilities(self, state: TrainState, contexts: np.ndarray) -> np.ndarray:
        """Two words each (N, 2) -> the probability of every word to follow (N, vocabulary_size)."""

        def softmax(state: TrainState, x: jax.Array) -> jax.Array:
            return jax.nn.softmax(self.predict(state, {"x": x}))

        return np.asarray(jax.jit(softmax)(state, contexts))

    def save_pictures(self, state: TrainState, data: Any, path_of: PathOf) -> None:
        x, y = data.train["x"], data.train["y"]

        def losses_of(state: TrainState, x: jax.Array, y: jax.Array) -> jax.Array:
            return self._per_example(self.predict(state, {"x": x}), y)

        losses = np.asarray(jax.jit(losses_of)(state, x, y))
        words = [data.meta["vocabulary"][number] for number in y[:SHOWN]]
        with figure(path_of("words"), 1, 1, (12, 3.5)) as (axes,):
            axes.bar(range(len(words)), np.exp(-losses[:SHOWN]))
            axes.set_xticks(range(len(words)), words, rotation=90, fontsize=7)
            axes.set(ylabel="probability of the word", ylim=(0, 1), xlim=(-1, len(words)))
            axes.set_title(f"perplexity {math.exp(min(losses.mean(), 700.0)):.3f} on the text")
