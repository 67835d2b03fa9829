"""The inputs of a benchmark, the same in every process. Nothing here imports torch."""

import dataclasses
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from convert.twins import Twin, find_twin
from train.data.sources import Arrays
from train.recipes import Recipe, find_recipe
from train.tasks import build_task
from train.tasks.contract import Task
from train.tasks.models import build_model

NUM_BATCHES = 16


class Subject(NamedTuple):
    """A model with the task that trains it.

    steps: the batch and the noise of NUM_BATCHES training steps, channels last, float32 or integers. Calls
    take them in turns. With a single batch a classifier would soon know it by heart, and its gradients would
    become denormal numbers, with which a CPU computes slowly.
    """

    recipe: Recipe
    twin: Twin
    model: Any
    task: Task
    steps: list[tuple[Arrays, Arrays]]

    @classmethod
    def of(cls, model: str, options: Mapping[str, Any] | None, batch_size: int) -> "Subject":
        """A model of the catalogue. options: by default those of its recipe."""
        recipe = dataclasses.replace(
            find_recipe(model), steps=1000
        )  # what decays over a run needs its length
        if options is not None:
            recipe = dataclasses.replace(recipe, options=dict(options))
        twin = find_twin(model, recipe.options)
        built = build_model(recipe)
        task = build_task(recipe, built)
        rng = np.random.default_rng(0)
        steps = []
        for number in range(NUM_BATCHES):
            batch = {name: as_float32(example.draw(rng, batch_size)) for name, example in twin.batch.items()}
            noise = task.draw(jax.random.key(number), batch_size)
            steps.append((batch, {name: np.asarray(value) for name, value in noise.items()}))
        return cls(recipe, twin, built, task, steps)

    def inputs(self, child: str, batch_size: int) -> list[np.ndarray]:
        """Random inputs of a child of the model."""
        rng = np.random.default_rng(0)
        return [as_float32(example.draw(rng, batch_size)) for example in self.twin.examples[child]]


def as_float32(array: np.ndarray) -> np.ndarray:
    """A float array as float32; an integer array unchanged."""
    return array.astype(np.float32) if np.issubdtype(array.dtype, np.floating) else array
