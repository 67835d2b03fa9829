"""Random weights for a comparison: no leaf is left at zero or one."""

import dataclasses
import math

import numpy as np

from convert.weights import flat_variables
from train.recipes import Recipe
from train.tasks.models import build_model


def random_values(recipe: Recipe, seed: int) -> dict[tuple, np.ndarray]:
    """First weights with every leaf made random, by path.

    Zeros and ones would hide leaves that are swapped.
    """
    model = build_model(dataclasses.replace(recipe, seed=seed))
    rng = np.random.default_rng(seed)
    variables = flat_variables(model).items()
    return {path: randomised(np.asarray(variable[...]), str(path[-1]), rng) for path, variable in variables}


def randomised(array: np.ndarray, name: str, rng: np.random.Generator) -> np.ndarray:
    """The leaf without zeros and ones: positive variances, small counts, noise on biases and scales.

    name: the last part of the leaf's path. A matrix that is random already stays, unless it is so small that
    signals would vanish in a deep network, and differences with them. Such a matrix is scaled to
    1 / sqrt(fan_in).
    """
    if np.issubdtype(array.dtype, np.integer):
        return rng.integers(1, 10, array.shape)
    if name.endswith("var"):
        return rng.uniform(0.5, 1.5, array.shape)
    if array.ndim > 1 and array.std() > 0:
        least = 1 / math.sqrt(math.prod(array.shape[:-1]))
        return array if array.std() > least / 2 else array * (least / array.std())
    return array + 0.1 * rng.standard_normal(array.shape)
