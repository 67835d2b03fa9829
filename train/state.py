"""The state of a run: parameters, buffers and optimizers, split from the model once.

A model is taken apart into what never changes (two graphs, one for training mode and one for
evaluation mode) and what does: its arrays, as nested dicts by path. The step of a task is a pure
function of the latter, under one jit, with donated state; `nnx.merge(graph, params, buffers)` is
the model again.
"""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from flax_models import MODELS
from train.config import Recipe
from train.optim import OPTIMIZERS

Tree = dict[str, Any]  # nested, by path


class TrainState(NamedTuple):
    """All that changes during training; what a checkpoint holds.

    step: () int32, optimizer steps taken. params, buffers: the model's arrays by path.
    optimizers: the optimizer state of each child that has one of its own ("" is the whole model).
    """

    step: jax.Array
    params: Tree
    buffers: Tree
    optimizers: dict[str, Any]


class Graphs(NamedTuple):
    """A model without its variables, in both modes."""

    train: nnx.GraphDef
    eval: nnx.GraphDef


Transformations = Mapping[str, optax.GradientTransformation]


def build_model(recipe: Recipe) -> nnx.Module:
    """The recipe's model with its first weights, from the recipe's seed.

    Under one jit: drawn eagerly, every shape would be compiled on its own.
    """

    cls = MODELS[recipe.model]
    known = inspect.signature(cls.__init__).parameters.keys() - {"self", "rngs"}
    unknown = recipe.options.keys() - known
    if unknown:
        raise ValueError(
            f"{recipe.model} has no option {', '.join(sorted(unknown))}: there are {', '.join(sorted(known))}"
        )
    return nnx.jit(lambda: cls(**recipe.options, rngs=nnx.Rngs(recipe.seed)))()


def abstract_model(recipe: Recipe) -> nnx.Module:
    """The recipe's model with shapes in place of arrays."""
    return nnx.eval_shape(lambda: MODELS[recipe.model](**recipe.options, rngs=nnx.Rngs(0)))


def split_model(model: nnx.Module) -> tuple[Graphs, Tree, Tree]:
    """model -> (graphs, params, buffers). The model itself is left in training mode."""
    model.eval()
    eval_graph = nnx.graphdef(model)
    model.train()
    graph, params, buffers = nnx.split(model, nnx.Param, ...)
    return Graphs(graph, eval_graph), nnx.to_pure_dict(params), nnx.to_pure_dict(buffers)


def buffers_of(model: nnx.Module) -> Tree:
    """What a forward pass may have changed: batch statistics and their counts."""
    return nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Param)))


def transformations_of(recipe: Recipe) -> dict[str, optax.GradientTransformation]:
    """The recipe's optimizers as optax transformations, by the child that each one trains."""
    return {
        child: OPTIMIZERS[type(config).__name__](**dataclasses.asdict(config))
        for child, config in recipe.optimizers.items()
    }


def init_state(params: Tree, buffers: Tree, transformations: Transformations) -> TrainState:
    """The state before the first step."""
    optimizers = {child: tx.init(part(params, child)) for child, tx in transformations.items()}
    return TrainState(jnp.zeros((), jnp.int32), params, buffers, optimizers)


def part(params: Tree, child: str) -> Tree:
    """The arrays below one child of the root; "" is the root itself."""
    return params[child] if child else params


def descend(
    state: TrainState,
    child: str,
    tx: optax.GradientTransformation,
    loss_of: Callable[[Tree], tuple[jax.Array, Tree]],
) -> tuple[TrainState, jax.Array]:
    """One optimizer step of `child` down loss_of(params) -> (loss, buffers); others stay fixed."""

    def loss_of_part(values):
        params = {**state.params, child: values} if child else values
        return loss_of(params)

    values = part(state.params, child)
    (loss, buffers), gradients = jax.value_and_grad(loss_of_part, has_aux=True)(values)
    updates, optimizer = tx.update(gradients, state.optimizers[child], values)
    values = optax.apply_updates(values, updates)
    return state._replace(
        params={**state.params, child: values} if child else values,
        buffers=buffers,
        optimizers={**state.optimizers, child: optimizer},
    ), loss
