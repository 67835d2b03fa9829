"""The base class of the tasks: it splits the model, and prepares images for it."""

from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import nnx

from train.data.sources import Data
from train.data.transforms import Transforms, parse_transforms
from train.data.transforms.ops import apply_transforms
from train.recipes import Recipe, image_shape
from train.tasks.contract import Batch, PathOf, Precomputation
from train.tasks.state import (
    TrainState,
    Transformations,
    Tree,
    build_transformations,
    init_state,
    split_model,
)

# The arrays of images in a batch. The number is folded into the random key of that array. It is large, so
# that it cannot equal the position of a transform, which is folded in next.
IMAGE_KEYS: Mapping[str, int | None] = {"image": None, "a": 1 << 16, "b": 1 << 17}


class BaseTask:
    """The part of `train.tasks.contract.Task` that does not depend on the kind of training.

    Errors: ValueError for transforms that do not fit the images of the recipe.
    """

    evaluates: ClassVar[bool] = False

    def __init__(self, recipe: Recipe, model: nnx.Module):
        self.recipe: Any = recipe
        self.model_def, self._params, self._buffers = split_model(model)
        self.transformations: Transformations = build_transformations(recipe)
        settings = recipe.image_settings
        self.transforms = parse_transforms(settings.transforms)
        self.test_transforms = parse_transforms(settings.test_transforms)
        shape = image_shape(recipe)
        if shape is not None:  # transforms that do not fit are an error before anything is written
            self.transforms.output_shape(shape)
            self.test_transforms.output_shape(shape)

    @staticmethod
    def require_attributes(recipe: Recipe, model: Any, *names: str) -> None:
        """ValueError if the model lacks an attribute that the task needs."""
        missing = [name for name in names if not hasattr(model, name)]
        if missing:
            raise ValueError(f"{recipe.model} lacks {', '.join(missing)}, which the task {recipe.task} needs")

    def initial_state(self) -> TrainState:
        return init_state(self._params, self._buffers, self.transformations)

    def draw(self, key: jax.Array, batch_size: int) -> Batch:
        """{"dropout": (2,) uint32, the data of a key} for a model that draws random numbers; else {}."""
        return {"dropout": jax.random.key_data(key)} if self.model_def.draws else {}

    def training_model(self, params: Tree, buffers: Tree, noise: Batch) -> Any:
        """The model in training mode, with dropout masks drawn from the step's noise."""
        key = jax.random.wrap_key_data(noise["dropout"]) if "dropout" in noise else None
        return self.model_def.train(params, buffers, key)

    def prepare(self, batch: Batch, key: jax.Array) -> Batch:
        return _transform_images(self.transforms, batch, key)

    def prepare_test(self, batch: Batch) -> Batch:
        return _transform_images(self.test_transforms, batch, jax.random.key(0))

    def evaluate(self, state: TrainState, batch: Batch) -> Batch:
        raise NotImplementedError

    def precomputation(self) -> Precomputation | None:
        return None

    def derived(self, record: Mapping[str, float]) -> dict[str, float]:
        return {}

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        """Saves nothing; a task that has images to show overrides it."""


def _transform_images(transforms: Transforms, batch: Batch, key: jax.Array) -> Batch:
    prepared = dict(batch)
    for name, number in IMAGE_KEYS.items():
        if name not in batch:
            continue
        images = batch[name]
        if images.dtype == jnp.uint8:
            images = images.astype(jnp.float32) / 255
        image_key = key if number is None else jax.random.fold_in(key, number)
        prepared[name] = apply_transforms(transforms, images, image_key)
    return prepared
