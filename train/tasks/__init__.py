"""What a kind of training means: one module per task, each with a class `Task`.

A task is built from a recipe and a model, and gives the loop:

    task.state()                        the TrainState before the first step
    task.draw(key, batch_size)          the random numbers of one step
    task.step(state, batch, noise)      (state, losses): pure, and the only thing that trains
    task.pictures(state)                {name: (N, H, W, C) uint8}, to look at while it trains

The random numbers are an argument of the step so that the certificate can give the same to both
frameworks.
"""

import importlib
from typing import Any


def build_task(recipe: Any, model: Any) -> Any:
    """The task that a recipe names, for a model."""
    return importlib.import_module(f"train.tasks.{recipe.task}").Task(recipe, model)
