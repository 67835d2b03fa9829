"""The tasks: one module each, with a class `Task`. `contract` describes the interface."""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flax import nnx

    from train.recipes import Recipe
    from train.tasks.contract import Task


def build_task(recipe: "Recipe", model: "nnx.Module") -> "Task":
    """The task of a recipe for a model.

    It also provides the protocols of `train.tasks.contract` that `recipe.capabilities` declares.
    Errors: ValueError if the model does not suit the task.
    """
    return importlib.import_module(f"train.tasks.{recipe.task}").Task(recipe, model)
