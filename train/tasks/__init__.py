"""What a training step is: one module per task with a class `Task`; `contract` says what it provides."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flax import nnx

    from train.recipes import Recipe
    from train.tasks.contract import Task


def build_task(recipe: "Recipe", model: "nnx.Module") -> "Task":
    """The task of a recipe for a model.

    It has the further protocols of `train.tasks.contract` that `recipe.capabilities` declares.
    Errors: ValueError where the model does not suit the task.
    """
    return importlib.import_module(f"train.tasks.{recipe.task}").Task(recipe, model)
