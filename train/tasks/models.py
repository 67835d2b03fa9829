"""Finds and builds the model of a recipe, by its name in the catalogue or by its import path."""

import dataclasses
import importlib
import inspect
import os
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import nnx

from flax_models import MODELS
from train.backend import short_compiler_options
from train.lookup import look_up
from train.recipes import Recipe

# Option of a model -> the entry of the data set's metadata whose length gives the option's value.
SIZE_OPTIONS = {
    "num_classes": "classes", "vocabulary_size": "vocabulary", "num_tags": "tags", "in_features": "features",
    "out_features": "targets", "source_size": "source_vocabulary", "target_size": "target_vocabulary",
    "num_symbols": "symbols",
}  # fmt: skip


def find_model(name: str) -> Any:
    """The class of a model.

    name: a name of the catalogue, or "package.module:Class".
    Errors: ValueError for an unknown name, for a module or class that cannot be imported, and for a class
    that is not a subclass of nnx.Module.
    """
    if ":" not in name:
        return look_up(MODELS, name, "model")
    module, _, path = name.partition(":")
    if os.getcwd() not in sys.path:  # `python -m` has it; a console script and pytest may not
        sys.path.append(os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for attribute in path.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"the model {name} cannot be imported: {error}") from None
    if not (isinstance(found, type) and issubclass(found, nnx.Module)):
        raise ValueError(f"{name} is not a subclass of flax.nnx.Module")
    return found


def model_options(model: str | type[nnx.Module]) -> dict[str, Any]:
    """The options that a model takes, with their defaults."""
    cls = find_model(model) if isinstance(model, str) else model
    parameters = inspect.signature(cls.__init__).parameters
    return {name: p.default for name, p in parameters.items() if name not in ("self", "rngs")}


def build_model(recipe: Recipe, cls: type[nnx.Module] | None = None) -> Any:
    """The recipe's model with its initial weights, drawn from the recipe's seed.

    cls: the class, if it cannot be imported by the recipe's name.
    Errors: ValueError for options that the model does not have, and for a required option that is missing.
    """
    return _construct(recipe, cls, ...)


def blank_model(recipe: Recipe, cls: type[nnx.Module] | None = None) -> Any:
    """The recipe's model with zeros for weights, to be filled. The errors are those of `build_model`.

    The random state of its layers is that of `build_model`. It is there sooner, because no initialiser is
    compiled.
    """
    model = _construct(recipe, cls, nnx.RngState)
    rest = nnx.state(model, nnx.Not(nnx.RngState))
    nnx.update(model, jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), rest))
    return model


def _construct(recipe: Recipe, cls: type[nnx.Module] | None, filled: Any) -> Any:
    """The recipe's model: variables that the filter `filled` selects are arrays, the others are shapes."""
    build: Any = cls or find_model(recipe.model)
    check_options(recipe, build)

    def construct() -> Any:
        return build(**recipe.options, rngs=nnx.Rngs(recipe.seed))

    model = nnx.eval_shape(construct)
    if nnx.to_flat_state(nnx.state(model, filled)):
        # One jit around the constructor; otherwise JAX would compile each shape separately.
        state = jax.jit(lambda: nnx.state(construct(), filled), compiler_options=short_compiler_options())()
        nnx.update(model, state)
    return model


def check_options(recipe: Recipe, cls: type[nnx.Module]) -> None:
    """ValueError for options that the class does not take, and for required ones that are missing."""
    known = model_options(cls)
    unknown = recipe.options.keys() - known.keys()
    if unknown:
        raise ValueError(
            f"{recipe.model} has no option {', '.join(sorted(unknown))}: "
            f"there are {', '.join(sorted(known)) or 'none'}"
        )
    missing = [
        n for n, default in known.items() if default is inspect.Parameter.empty and n not in recipe.options
    ]
    if missing:
        raise ValueError(f"{recipe.model} needs the option {', '.join(missing)}: give options")


def abstract_model(recipe: Recipe) -> Any:
    """The recipe's model with shapes in place of arrays. The errors are those of `build_model`."""
    cls = find_model(recipe.model)
    check_options(recipe, cls)
    return nnx.eval_shape(lambda: cls(**recipe.options, rngs=nnx.Rngs(0)))


def fit_options(recipe: Recipe, meta: Mapping[str, Any], cls: type[nnx.Module] | None = None) -> Recipe:
    """The recipe with the options that can be inferred from the data and that the recipe does not set.

    meta: the metadata of the data set (class names, scale, ...). Its {"classes": [...]} gives the option
    num_classes, for example; SIZE_OPTIONS has all.
    """
    known = model_options(cls or recipe.model)
    fitting = {
        option: len(meta[name])
        for option, name in SIZE_OPTIONS.items()
        if name in meta and option in known and option not in recipe.options
    }
    differing = {option: size for option, size in fitting.items() if size != known[option]}
    return dataclasses.replace(recipe, options={**recipe.options, **differing})
