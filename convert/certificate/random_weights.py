"""Random weights for a comparison, in which no leaf is all zeros or all ones."""

import dataclasses
import math

import numpy as np

from convert.weights import flat_variables
from train.recipes import Recipe
from train.tasks.models import build_model


def random_values(recipe: Recipe, seed: int) -> dict[tuple, np.ndarray]:
    """{path: array} of the recipe's model with every leaf random, because equal leaves would hide a swap."""
    model = build_model(dataclasses.replace(recipe, seed=seed))
    rng = np.random.default_rng(seed)
    variables = flat_variables(model).items()
    return {path: randomise(np.asarray(variable[...]), str(path[-1]), rng) for path, variable in variables}


def randomise(array: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """A random array for a leaf: a positive variance, a small count, or the initial value with noise.

    array: the initial value. name: the last part of the leaf's path. A random matrix is kept, unless its
    standard deviation is very small. In a deep network the activations would then vanish, and with them every
    difference. Such a matrix is scaled to the standard deviation 1 / sqrt(fan_in).
    """
    if np.issubdtype(array.dtype, np.integer):
        return rng.integers(1, 10, array.shape)
    if name.endswith("var"):
        return rng.uniform(0.5, 1.5, array.shape)
    if array.ndim > 1 and array.std() > 0:
        least = 1 / math.sqrt(math.prod(array.shape[:-1]))
        return array if array.std() > least / 2 else array * (least / array.std())
    return array + 0.1 * rng.standard_normal(array.shape)
