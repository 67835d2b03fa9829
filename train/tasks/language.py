"""Predicting the next word: cross-entropy, and the perplexity that follows from it."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from train.data.sources import Data
from train.lookup import look_up
from train.plotting.figures import figure
from train.tasks.contract import Answer, PathOf
from train.tasks.state import TrainState
from train.tasks.supervised import SupervisedTask

NUM_WORDS = 60  # words of the text in the plot
MAX_LOG_PERPLEXITY = 700.0  # exp of a larger number overflows


class Task(SupervisedTask):
    """Reports the accuracy and the perplexity, and plots the probability of each word of the text."""

    reports_accuracy = True

    def derived(self, record: Mapping[str, float]) -> dict[str, float]:
        """The perplexities, exp of the mean losses of a metrics record."""
        return {
            name.replace("loss", "perplexity"): math.exp(min(value, MAX_LOG_PERPLEXITY))
            for name, value in record.items()
            if name.endswith("loss")
        }

    def probabilities(self, state: TrainState, contexts: np.ndarray) -> np.ndarray:
        """The probability that each word follows (N, vocabulary_size), for contexts of two words (N, 2)."""

        def softmax(state: TrainState, x: jax.Array) -> jax.Array:
            return jax.nn.softmax(self.predict(state, {"x": x}))

        return np.asarray(jax.jit(softmax)(state, contexts))

    def answer(self, state: TrainState, meta: Mapping[str, Any], **question: Any) -> Answer:
        """The most probable next words.

        context: two words of the training text. top: how many words to give, 5 by default.
        Errors: ValueError for any other number of words, for a word that is not in the training text (with
        near matches), and for a `top` below 1.
        """
        context, top = question["context"], question.get("top", 5)
        words = context.split()
        if len(words) != 2:
            raise ValueError(f'context takes two words, such as "so gazed", got {context!r}')
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        vocabulary = meta["vocabulary"]
        word_to_index = {word: index for index, word in enumerate(vocabulary)}
        indices = np.array([[look_up(word_to_index, word, "word") for word in words]], np.int32)
        (probabilities,) = self.probabilities(state, indices)
        best = [(vocabulary[i], float(probabilities[i])) for i in np.argsort(-probabilities)[:top]]
        return Answer(
            columns=(f"after {context!r}", "probability"),
            rows=[(word, f"{probability:.4f}") for word, probability in best],
            values=best,
        )

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        assert isinstance(data.train, dict)
        x, y = data.train["x"], data.train["y"]

        def losses_of(state: TrainState, x: jax.Array, y: jax.Array) -> jax.Array:
            return self._per_example(self.predict(state, {"x": x}), y)

        losses = np.asarray(jax.jit(losses_of)(state, x, y))
        words = [data.meta["vocabulary"][number] for number in y[:NUM_WORDS]]
        with figure(path_of("words"), 1, 1, (12, 3.5)) as (axes,):
            axes.bar(range(len(words)), np.exp(-losses[:NUM_WORDS]))
            axes.set_xticks(range(len(words)), words, rotation=90, fontsize=7)
            axes.set(ylabel="probability of the word", ylim=(0, 1), xlim=(-1, len(words)))
            axes.set_title(f"perplexity {math.exp(min(losses.mean(), MAX_LOG_PERPLEXITY)):.3f} on the text")
