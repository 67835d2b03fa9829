"""Arithmetic on trees of parameters, in the order and the precision of torch's optimizers."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp


def map_trees(function: Callable[..., jax.Array], *trees: Any) -> Any:
    """jax.tree.map(function), computed in float32 or wider as torch does, in the dtypes of the first tree."""

    def leaf(first, *rest):
        return function(widen(first), *map(widen, rest)).astype(first.dtype)

    return jax.tree.map(leaf, *trees)


def widen(x: jax.Array) -> jax.Array:
    """The array in float32, or in its own dtype if that is wider."""
    return x.astype(jnp.float32) if x.dtype.itemsize < 4 else x


def scale(tree: Any, factor: Any) -> Any:
    """The tree times a number."""
    return map_trees(lambda x: factor * x, tree)


def lerp(start: jax.Array, end: jax.Array, weight: float) -> jax.Array:
    """torch.lerp: `start` at weight 0 and `end` at weight 1, exactly."""
    difference = end - start
    return start + weight * difference if weight < 0.5 else end - (1 - weight) * difference


def as_float(step: Any) -> jax.Array:
    """A step as a float of the default width. Strict promotion does not mix integers with floats."""
    return jnp.asarray(step, jnp.result_type(float))


def bias_correction(beta: float, step: jax.Array) -> Any:
    """1 - beta**step, without the cancellation that costs float32 four digits at beta = 0.999."""
    return -jnp.expm1(as_float(step) * math.log(beta)) if beta else 1.0


def full_like(params: Any, value: float = 0.0) -> Any:
    """A tree of the same shapes and dtypes, filled with a value."""
    return jax.tree.map(lambda p: jnp.full_like(p, value), params)
