"""Run folders read back: the recipe, the data and the trained model."""

from pathlib import Path
from typing import NamedTuple

from flax import nnx, traverse_util

from train.checkpoint import Checkpoints
from train.config import Recipe, read_recipe
from train.data.datasets import find_dataset
from train.data.images import Shape
from train.data.load import Data, load_data
from train.data.preprocess import preprocess
from train.recipes import find_recipe
from train.state import TrainState, Tree, build_model
from train.tasks import build_task


class TrainedRun(NamedTuple):
    """What a run folder holds: its recipe, its last state, and the Flax model filled with it."""

    recipe: Recipe
    state: TrainState
    model: nnx.Module
    faults: list[str]


def load_run(workdir: Path) -> TrainedRun:
    """The last intact checkpoint of a run folder. ValueError where there is none."""
    recipe = read_recipe(workdir)
    model = build_model(recipe)
    if not (workdir / "checkpoints").is_dir():
        raise ValueError(f"{workdir} has no checkpoints yet: python -m train.run --model {recipe.model}")
    with Checkpoints(workdir) as checkpoints:
        state, faults = checkpoints.restore(build_task(recipe, model).state())
    if state is None:
        raise ValueError(f"{workdir} has no intact checkpoint")
    nnx.update(model, nnx.State(merged(state.params, state.buffers)))
    return TrainedRun(recipe, state, model, faults)


def picture_shape(recipe: Recipe) -> Shape | None:
    """(H, W, C) to which a recipe's pictures are brought when they are read; None where it has none."""
    at_home = find_recipe(recipe.model).dataset
    # Another set's pictures are brought to the shape of the model's own; photos:96 is no other set.
    same = recipe.dataset.partition(":")[0] == at_home.partition(":")[0]
    shape = find_dataset(recipe.dataset if same else at_home).shape
    size = getattr(recipe, "image_size", None)
    return (size, size, shape[2]) if shape is not None and size is not None else shape


def load_recipe_data(recipe: Recipe, data_dir: Path) -> Data:
    """The data that a recipe names, as its model takes it, and preprocessed.

    Errors: ValueError for a set of another kind than the model's, or that cannot be read.
    """
    kind = find_dataset(find_recipe(recipe.model).dataset).kind
    data = load_data(recipe.dataset, data_dir, kind=kind, shape=picture_shape(recipe))
    if not recipe.preprocess:
        return data
    name = "image" if kind == "image" else "x"
    if not isinstance(data.train, dict):
        raise ValueError(f"preprocess needs a data set that is in memory, which {recipe.dataset} is not")
    if kind == "pair":
        raise ValueError(f"preprocess fits one array of numbers, and {recipe.dataset} holds two domains")
    test = data.train if data.test is None else data.test
    fitted, fitted_test, _ = preprocess(recipe.preprocess, data.train[name], test[name])
    train = {**data.train, name: fitted}
    return data._replace(train=train, test=data.test and {**data.test, name: fitted_test})


def merged(params: Tree, buffers: Tree) -> Tree:
    """Both trees in one, as the model holds them."""
    flat = {**traverse_util.flatten_dict(params), **traverse_util.flatten_dict(buffers)}
    return traverse_util.unflatten_dict(flat)
