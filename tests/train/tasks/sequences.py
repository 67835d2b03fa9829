"""What the tests of sequence models share: their small variants on their own data."""

import dataclasses
import functools
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from convert.twins import TWINS
from tests.compilation import QUICK
from train.data.feeds import make_feed
from train.data.load import load_data
from train.recipes import RECIPES
from train.tasks import build_task
from train.tasks.models import build_model

SEQUENCES = ("lstm_regressor", "rnn_regressor", "gru_regressor", "ngram_lm", "lstm_tagger")
KINDS = {"airline_passengers": "forecast", "sonnet": "text", "tagged_sentences": "tagged"}


def load(name: str, kind: str) -> Any:
    """The data of a set that needs no folder; its meta is JSON."""
    data = load_data(name, Path("no folder is needed"), kind=kind)
    assert json.loads(json.dumps(data.meta)) == data.meta
    return data


@functools.cache
def built(model: str) -> Any:
    """(recipe, model) of the small variant, on its own data."""
    recipe = dataclasses.replace(RECIPES[model], options=dict(TWINS[model].tiny))
    return recipe, build_model(recipe)


@functools.cache
def small_run(model: str) -> Any:
    """(task, feed) of the small variant."""
    recipe, ours = built(model)
    data = load(recipe.dataset, KINDS[recipe.dataset])
    feed = make_feed(data.train, batch_size=recipe.batch_size, shuffle=recipe.shuffle, seed=recipe.seed)
    return build_task(recipe, ours), feed


def as_float64(tree: Any) -> Any:
    """A copy with wide numbers; a step donates its state."""
    return jax.tree.map(
        lambda a: jnp.array(a, jnp.float64 if jnp.issubdtype(a.dtype, jnp.floating) else a.dtype), tree
    )


def jitted(function: Any) -> Any:
    """jax.jit without XLA's optimisation."""
    return jax.jit(function, compiler_options=QUICK)
