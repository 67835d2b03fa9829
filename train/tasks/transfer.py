"""Transfer learning: classification by a head on the features of trunks, which may be frozen."""

from typing import Any

from flax import nnx

from train.recipes import Recipe
from train.tasks import classify
from train.tasks.contract import Batch, Precomputation
from train.tasks.state import TrainState

FEATURES = "features"
"""The name of the trunks' features (N, F) in a batch, in place of the images."""


class Task(classify.Task):
    """A model of trunks and a head. A batch has images, or the features that the trunks compute from them.

    If only the head has an optimizer, the trunks are frozen: they have neither gradients nor optimizer state.
    """

    def __init__(self, recipe: Recipe, model: nnx.Module):
        self.require_attributes(recipe, model, "trunks", "head", "features")
        super().__init__(recipe, model)

    def outputs_of(self, model: Any, batch: Batch) -> Any:
        return model.head(batch[FEATURES]) if FEATURES in batch else super().outputs_of(model, batch)

    def precomputation(self) -> Precomputation | None:
        """The features of frozen trunks. They depend on the step if a transform of the images is random."""
        if "head" not in self.transformations or not self.recipe.cache_features:
            return None
        random = ", ".join(self.transforms.random)
        return Precomputation("trunks", self._with_features, random and f"{random} draws random numbers")

    def _with_features(self, state: TrainState, batch: Batch) -> Batch:
        model = self.model_def.eval(state.params, state.buffers)
        rest = {name: array for name, array in batch.items() if name != "image"}
        return {FEATURES: model.features(batch["image"]), **rest}
