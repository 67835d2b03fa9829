"""The data of a recipe: the kind of data, the shape of images, and the data itself."""

from pathlib import Path

from train.data.datasets import Dataset, Shape, find_dataset
from train.data.images import ImageSource
from train.data.load import load_data
from train.data.preprocess import preprocess
from train.data.sources import Data
from train.recipes.base import Recipe
from train.recipes.catalogue import RECIPES


def default_dataset(recipe: Recipe) -> Dataset | None:
    """The default data set of a model of the catalogue; None for a user's model."""
    return find_dataset(RECIPES[recipe.model].dataset) if recipe.model in RECIPES else None


def data_kind(recipe: Recipe) -> str:
    """The kind of data that the model takes, one of `train.data.datasets.KINDS`.

    For a model of the catalogue, it is the kind of the model's default data set. For any other model it is
    the first kind that both its task and its data set support.
    """
    default = default_dataset(recipe)
    if default is not None:
        return default.kind
    kinds = find_dataset(recipe.dataset).kinds
    return next((kind for kind in recipe.kinds if kind in kinds), recipe.kinds[0])


def image_shape(recipe: Recipe) -> Shape | None:
    """(H, W, C) to which the images of a recipe are converted when they are read; None if it has no images.

    The images of any other data set are converted to the shape of the model's default data set.
    """
    if recipe.dataset == ARRAYS:
        return None
    given, default = find_dataset(recipe.dataset), default_dataset(recipe)
    if default is None or recipe.dataset.partition(":")[0] == RECIPES[recipe.model].dataset.partition(":")[0]:
        default = given  # photos:96 has another shape than photos, and is the same data set
    size = recipe.image_settings.size
    return default.shape if default.shape is None or size is None else (size, size, default.shape[2])


ARRAYS = "arrays"
"""The name of the data set in a recipe that trains on the user's arrays."""


def load_recipe_data(recipe: Recipe, data_dir: Path, data: Data | None = None) -> Data:
    """The data of a recipe as its model takes it, preprocessed.

    If a recipe for labelled images does not give their shape, meta["image_shape"] does.
    data: the user's arrays, for a recipe of the data set "arrays".
    Errors: ValueError for a data set of any other kind than the model's, for one that cannot be read, and for
    one that the task cannot learn from.
    """
    if data is None:
        if recipe.dataset == ARRAYS:
            raise ValueError("this run trains on the user's arrays: give them as data=...")
        data = load_data(
            recipe.dataset, data_dir, kind=data_kind(recipe), shape=image_shape(recipe),
            fit=recipe.image_settings.fit, skip_unreadable=recipe.image_settings.skip_unreadable,
        )  # fmt: skip
    shape = _shape_of_images(data) if "image" in recipe.kinds else None
    if shape is not None and image_shape(recipe) is None:
        data = data._replace(meta={**data.meta, "image_shape": list(shape)})
    data = recipe.fit_data(data)
    if not recipe.preprocess:
        return data
    if not isinstance(data.train, dict) or not (data.test is None or isinstance(data.test, dict)):
        raise ValueError(f"preprocess needs a data set that is in memory, which {recipe.dataset} is not")
    if data.unaligned:
        raise ValueError(f"preprocess fits one array of numbers, and {recipe.dataset} contains two domains")
    name = "image" if "image" in data.train else "x"
    if name not in data.train or data.reported:
        raise ValueError(f"preprocess fits images or rows of numbers, and {recipe.dataset} contains neither")
    test = data.train if data.test is None else data.test
    fitted, fitted_test, _ = preprocess(recipe.preprocess, data.train[name], test[name])
    train = {**data.train, name: fitted}
    return data._replace(train=train, test=data.test and {**data.test, name: fitted_test})


def _shape_of_images(data: Data) -> tuple[int, ...] | None:
    """(H, W, C) of the training images; None without images."""
    if isinstance(data.train, ImageSource):
        return data.train.shape
    return data.train["image"].shape[1:] if isinstance(data.train, dict) and "image" in data.train else None
