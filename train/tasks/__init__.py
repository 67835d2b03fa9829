"""What a training step is: one module per task, each with a class `Task`; `contract` says what it provides."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flax import nnx

    from train.recipes import Recipe


def build_task(recipe: "Recipe", model: "nnx.Module") -> Any:
    """The task of a recipe for a model: a `train.tasks.contract.Task`.

    Its further protocols are those that `recipe.capabilities` declares.
    Errors: ValueError where the model does not suit the task.
    """
    return importlib.import_module(f"train.tasks.{recipe.task}").Task(recipe, model)
