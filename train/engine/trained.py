"""Loads the last intact checkpoint of a run folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from train.engine.checkpoints import Checkpoints
from train.engine.run_folders import read_recipe
from train.recipes import Recipe
from train.tasks import build_task
from train.tasks.contract import Task
from train.tasks.models import blank_model
from train.tasks.state import TrainState, merge_trees


@dataclass
class TrainedRun:
    """The content of a run folder.

    state: the last intact checkpoint. model: the Flax model with the weights of that state.
    task: the task of the recipe for the model. faults: a line for each damaged checkpoint.
    """

    workdir: Path
    recipe: Recipe
    state: TrainState
    model: Any
    task: Task
    faults: list[str]


def load_trained(workdir: Path | str, model: Any = None) -> TrainedRun:
    """The last intact checkpoint of a run folder.

    model: the model's class or an instance. It is needed if the recipe's model cannot be imported. The
    weights are loaded into an instance.
    Errors: ValueError if the folder contains no run, or no intact checkpoint.
    """
    workdir = Path(workdir)
    recipe = read_recipe(workdir)
    if model is None or isinstance(model, type):
        model = blank_model(recipe, model)
    if not (workdir / "checkpoints").is_dir():
        raise ValueError(f"{workdir} has no checkpoints yet: python -m train.run --model {recipe.model}")
    task = build_task(recipe, model)
    with Checkpoints(workdir) as checkpoints:
        state, faults = checkpoints.restore(jax.eval_shape(task.initial_state))
    if state is None:
        raise ValueError(f"{workdir} has no intact checkpoint")
    nnx.update(model, nnx.State(merge_trees(state.params, state.buffers)))
    return TrainedRun(workdir, recipe, state, model, task, faults)
