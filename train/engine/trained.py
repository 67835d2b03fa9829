"""Loads the last intact checkpoint of a run folder, also into a part of another model."""

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
from train.tasks.models import blank_model, model_options
from train.tasks.state import TrainState, merge_trees

WEIGHTS = nnx.Not(nnx.RngState)


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


def load_first_weights(recipe: Recipe, model: Any) -> list[str]:
    """Fills the children of a new model with the weights of the runs that the recipe names.

    A run's model may have more leaves than the child, such as a head; they are dropped. Returns a line for
    each child.
    Errors: ValueError for a run that is missing, and for one whose model, or an option of it, differs from
    the child's.
    """
    lines = []
    for path, first in recipe.first_weights.items():
        given = read_recipe(Path(first.workdir))
        if given.model != first.model:
            raise ValueError(f"{path} is {first.model}, and {first.workdir} contains a run of {given.model}")
        options = {**model_options(given.model), **given.options}
        for name, value in first.options.items():
            if options.get(name, value) != value:
                raise ValueError(
                    f"{path} has {name} {value}, and {first.workdir} has {name} {options[name]}: "
                    "a run gives its weights to a model of the same options"
                )
        run = load_trained(first.workdir)
        child = model
        for name in path.split("."):
            child = child[int(name)] if name.isdigit() else getattr(child, name)
        ours, theirs = (dict(nnx.to_flat_state(nnx.state(m, WEIGHTS))) for m in (child, run.model))
        for leaf, variable in ours.items():
            assert theirs[leaf].shape == variable.shape, f"{leaf} differs in models of the same options"
            variable.set_value(theirs[leaf][...])
        dropped = ", ".join(".".join(map(str, leaf)) for leaf in sorted(theirs.keys() - ours.keys()))
        lines.append(
            f"{path}: {len(ours)} leaves of {first.model} in {first.workdir}, step {int(run.state.step)}"
            + (f"; without {dropped}" if dropped else "")
        )
    return lines
