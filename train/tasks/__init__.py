"""What a kind of training means: one module per task, each with a class `Task`.

A task is built from a recipe and a model, and gives the loop:

    task.state()                            the TrainState before the first step
    task.prepare(batch, key)                a batch as the step takes it: transformed
    task.draw(key, batch_size)              the random numbers of one step
    task.step(state, batch, noise)          (state, losses): pure, and the only thing that trains
    task.evaluate(state, batch)             {name: sum over the examples} of test data
    task.save_pictures(state, data, path)   what shows how training goes

The random numbers are an argument of the step so that the certificate can give the same to both
frameworks.
"""

import importlib
from typing import Any


def build_task(recipe: Any, model: Any) -> Any:
    """The task that a recipe names, for a model."""
    return importlib.import_module(f"train.tasks.{recipe.task}").Task(recipe, model)
