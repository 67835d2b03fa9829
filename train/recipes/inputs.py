"""What a recipe takes of its data set: the kind of data, the shape of images, and the data itself."""

from pathlib import Path

from train.data.datasets import Dataset, Shape, find_dataset
from train.data.load import load_data
from train.data.preprocess import preprocess
from train.data.sources import Data
from train.recipes.base import Recipe
from train.recipes.table import RECIPES


def own_dataset(recipe: Recipe) -> Dataset | None:
    """The default data set of a model of the catalogue; None for a model of the user's own."""
    return find_dataset(RECIPES[recipe.model].dataset) if recipe.model in RECIPES else None


def data_kind(recipe: Recipe) -> str:
    """The kind of data that the model takes, one of `train.data.datasets.KINDS`.

    A model of the catalogue takes the kind of its own data set. Another model takes what its task takes of
    the data set that the recipe names.
    """
    own = own_dataset(recipe)
    if own is not None:
        return own.kind
    kinds = find_dataset(recipe.dataset).kinds
    return next((kind for kind in recipe.kinds if kind in kinds), recipe.kinds[0])


def image_shape(recipe: Recipe) -> Shape | None:
    """(H, W, C) to which the images of a recipe are brought when they are read; None where it has none.

    The images of another data set are brought to the shape of the model's own data set.
    """
    if recipe.dataset == ARRAYS:
        return None
    given, own = find_dataset(recipe.dataset), own_dataset(recipe)
    if own is None or recipe.dataset.partition(":")[0] == RECIPES[recipe.model].dataset.partition(":")[0]:
        own = given  # photos:96 has another shape than photos, and is the same data set
    size = recipe.image_settings.size
    return own.shape if own.shape is None or size is None else (size, size, own.shape[2])


ARRAYS = "arrays"
"""The name of the data set in a recipe that trains on arrays of the caller."""


def load_recipe_data(recipe: Recipe, data_dir: Path, data: Data | None = None) -> Data:
    """The data of a recipe as its model takes it, preprocessed.

    data: the arrays of the caller, for a recipe of the data set "arrays".
    Errors: ValueError for a data set of another kind than the model's, or one that cannot be read.
    """
    if data is None:
        if recipe.dataset == ARRAYS:
            raise ValueError("this run trains on arrays of the caller: give them as data=...")
        data = load_data(recipe.dataset, data_dir, kind=data_kind(recipe), shape=image_shape(recipe))
    if not recipe.preprocess:
        return data
    if not isinstance(data.train, dict) or not (data.test is None or isinstance(data.test, dict)):
        raise ValueError(f"preprocess needs a data set that is in memory, which {recipe.dataset} is not")
    if data.unaligned:
        raise ValueError(f"preprocess fits one array of numbers, and {recipe.dataset} holds two domains")
    name = "image" if "image" in data.train else "x"
    test = data.train if data.test is None else data.test
    fitted, fitted_test, _ = preprocess(recipe.preprocess, data.train[name], test[name])
    train = {**data.train, name: fitted}
    return data._replace(train=train, test=data.test and {**data.test, name: fitted_test})
