"""What every task does alike: it takes the model apart, and brings pictures to the model's range."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from train.config import Recipe
from train.data.transforms import parse_transforms
from train.runs import picture_shape
from train.state import TrainState, init_state, split_model, transformations_of

Batch = dict[str, jax.Array]
PathOf = Callable[[str], Path]  # the name of a picture -> the file to write now


class Task:
    """The part of `train.tasks`' contract that does not depend on the kind of training.

    evaluates: whether the task is judged on test data.
    """

    evaluates = False

    def __init__(self, recipe: Recipe, model: nnx.Module):
        self.recipe = recipe
        self.blueprint, self._params, self._buffers = split_model(model)
        self.transformations = transformations_of(recipe)
        self.transforms, self.test_transforms = (
            parse_transforms(getattr(recipe, name, ())) for name in ("transforms", "test_transforms")
        )
        shape = picture_shape(recipe)
        if shape is not None:  # what does not fit is said before anything is written
            self.transforms.output_shape(shape), self.test_transforms.output_shape(shape)

    def state(self) -> TrainState:
        return init_state(self._params, self._buffers, self.transformations)

    def draw(self, key: jax.Array, batch_size: int) -> Batch:
        """{"dropout": (2,) uint32, a key's data} for a model that draws; else nothing."""
        return {"dropout": jax.random.key_data(key)} if self.blueprint.draws else {}

    def model(self, params: Any, buffers: Any, noise: Batch) -> nnx.Module:
        """The model in training mode, its masks drawn from the step's noise."""
        key = jax.random.wrap_key_data(noise["dropout"]) if "dropout" in noise else None
        return self.blueprint.train(params, buffers, key)

    def prepare(self, batch: Batch, key: jax.Array) -> Batch:
        """A batch of training data as the step takes it: pictures as numbers, transformed."""
        return _pictures_by(self.transforms, batch, key)

    def prepare_test(self, batch: Batch) -> Batch:
        """The same for test data, where nothing is drawn."""
        return _pictures_by(self.test_transforms, batch, jax.random.key(0))

    def evaluate(self, state: TrainState, batch: Batch) -> dict[str, jax.Array]:
        """{name: sum over the batch's examples} of prepared test data."""
        raise NotImplementedError

    def derived(self, record: Mapping[str, float]) -> dict[str, float]:
        """What follows from the means of a record of metrics, such as a perplexity from a loss."""
        return {}

    def save_pictures(self, state: TrainState, data: Any, path_of: PathOf) -> None:
        """Draws what shows how training goes; nothing where a task has nothing to show."""


# The pictures of a batch, each with the number that makes its key: far from the places of the transforms,
# which are folded into that.
PICTURES = {"image": None, "a": 1 << 16, "b": 1 << 17}


def _pictures_by(transforms: Any, batch: Batch, key: jax.Array) -> Batch:
    prepared = dict(batch)
    for name, number in PICTURES.items():
        if name not in batch:
            continue
        images = batch[name]
        if images.dtype == jnp.uint8:
            images = images.astype(jnp.float32) / 255
        prepared[name] = transforms(images, key if number is None else jax.random.fold_in(key, number))
    return prepared
