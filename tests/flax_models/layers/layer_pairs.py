"""Pairs of single layers by torch's name, for the layer tests."""

import inspect
from typing import Any

import jax.numpy as jnp
import torch
from flax import nnx
from hypothesis import strategies as st

import torch_models.layers
from flax_models import layers
from tests.pairs import Pair, make_pair

seeds = st.integers(0, 2**32 - 1)


def build(name: str, *args: Any, **kwargs: Any) -> Any:
    """A layer of ours, in float64 where it has parameters. Call it under jax.enable_x64."""
    layer = getattr(layers, name)
    accepted = inspect.signature(layer.__init__).parameters
    if "param_dtype" in accepted:
        kwargs.setdefault("param_dtype", jnp.float64)
    if "rngs" in accepted:
        kwargs.setdefault("rngs", nnx.Rngs(0))
    return layer(*args, **kwargs)


def torch_layer(name: str, *args: Any, **kwargs: Any) -> Any:
    """torch's layer, or that of torch_models which torch.nn does not have."""
    layer = getattr(torch.nn, name, None) or getattr(torch_models.layers, name)
    return layer(*args, **kwargs)


def layer_pair(name: str, *args: Any, seed: int = 0, **kwargs: Any) -> Pair:
    """The pair of a layer, in float64 and training mode."""
    return make_pair(
        lambda: build(name, *args, **kwargs), lambda: torch_layer(name, *args, **kwargs), seed=seed
    )
