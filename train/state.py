"""The state of a run: parameters, buffers and optimizers, split from the model once.

A model is taken apart into what never changes (its Blueprint) and what does: its arrays, as nested
dicts by path. The step of a task is a pure function of the latter, under one jit, with donated state;
`blueprint.train(params, buffers, key)` is the model again. What it draws by itself, dropout masks,
follows from the key.
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
BUFFERS = nnx.Not(nnx.Any(nnx.Param, nnx.RngState))
# The model's option: what of the data it counts.
SIZES = {"num_classes": "classes", "vocabulary_size": "vocabulary", "num_tags": "tags"}


class TrainState(NamedTuple):
    """All that changes during training; what a checkpoint holds.

    step: () int32, optimizer steps taken. params, buffers: the model's arrays by path.
    optimizers: the optimizer state of each child that has one of its own ("" is the whole model).
    extra: what a task keeps beside the model, by name: averages of weights, images from before.
    """

    step: jax.Array
    params: Tree
    buffers: Tree
    optimizers: dict[str, Any]
    extra: Tree


class Blueprint(NamedTuple):
    """A model without its arrays, in both modes.

    streams: the random streams of its layers, by path; empty where no layer draws.
    """

    train_graph: nnx.GraphDef
    eval_graph: nnx.GraphDef
    streams: Tree

    def train(self, params: Tree, buffers: Tree, key: jax.Array | None = None) -> nnx.Module:
        """The model in training mode; what its layers draw follows from the key."""
        return nnx.merge(self.train_graph, params, self._keyed(key), buffers)

    def eval(self, params: Tree, buffers: Tree) -> nnx.Module:
        """The model in evaluation mode."""
        return nnx.merge(self.eval_graph, params, self.streams, buffers)

    @property
    def draws(self) -> bool:
        """Whether a layer draws random numbers in training."""
        return bool(jax.tree.leaves(self.streams))

    def _keyed(self, key: jax.Array | None) -> Tree:
        """The streams begun anew from a key, each from its own."""
        if key is None:
            return self.streams
        leaves, structure = jax.tree.flatten(self.streams)
        anew = [
            jax.random.fold_in(key, number)
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else jnp.zeros_like(leaf)
            for number, leaf in enumerate(leaves)
        ]
        return jax.tree.unflatten(structure, anew)


Transformations = Mapping[str, optax.GradientTransformation]


def build_model(recipe: Recipe) -> nnx.Module:
    """The recipe's model with its first weights, from the recipe's seed.

    Under one jit: drawn eagerly, every shape would be compiled on its own. ValueError for options
    that the model has not.
    """
    unknown = recipe.options.keys() - model_options(recipe.model)
    if unknown:
        known = ", ".join(sorted(model_options(recipe.model)))
        raise ValueError(
            f"{recipe.model} has no option {', '.join(sorted(unknown))}: there are {known or 'none'}"
        )
    cls = MODELS[recipe.model]
    return nnx.jit(lambda: cls(**recipe.options, rngs=nnx.Rngs(recipe.seed)))()


def abstract_model(recipe: Recipe) -> nnx.Module:
    """The recipe's model with shapes in place of arrays."""
    return nnx.eval_shape(lambda: MODELS[recipe.model](**recipe.options, rngs=nnx.Rngs(0)))


def model_options(model: str) -> dict[str, Any]:
    """The options that a model takes, with their defaults."""
    parameters = inspect.signature(MODELS[model].__init__).parameters
    return {name: p.default for name, p in parameters.items() if name not in ("self", "rngs")}


def fit_options(recipe: Recipe, meta: Mapping[str, Any]) -> Recipe:
    """The recipe with those options that follow from the data, where they are not given.

    meta: what a data set says of itself; its {"classes": [...]} makes the option num_classes.
    """
    known = model_options(recipe.model)
    fitting = {
        option: len(meta[name])
        for option, name in SIZES.items()
        if name in meta and option in known and option not in recipe.options
    }
    differing = {option: size for option, size in fitting.items() if size != known[option]}
    return dataclasses.replace(recipe, options={**recipe.options, **differing})


def split_model(model: nnx.Module) -> tuple[Blueprint, Tree, Tree]:
    """model -> (blueprint, params, buffers). The model itself is left in training mode."""
    model.eval()
    eval_graph = nnx.graphdef(model)
    model.train()
    graph, *states = nnx.split(model, nnx.Param, nnx.RngState, ...)
    params, streams, buffers = map(nnx.to_pure_dict, states)
    return Blueprint(graph, eval_graph, streams), params, buffers


def buffers_of(model: nnx.Module) -> Tree:
    """What a forward pass may have changed: batch statistics and their counts."""
    return nnx.to_pure_dict(nnx.state(model, BUFFERS))


def transformations_of(recipe: Recipe) -> dict[str, optax.GradientTransformation]:
    """The recipe's optimizers as optax transformations, by the child that each one trains."""
    return {
        child: OPTIMIZERS[type(config).__name__](**dataclasses.asdict(config))
        for child, config in recipe.optimizers.items()
    }


def init_state(params: Tree, buffers: Tree, transformations: Transformations) -> TrainState:
    """The state before the first step."""
    optimizers = {child: tx.init(part(params, child)) for child, tx in transformations.items()}
    return TrainState(jnp.zeros((), jnp.int32), params, buffers, optimizers, {})


def part(params: Tree, child: str) -> Tree:
    """The arrays below one child of the root; "" is the root itself."""
    return params[child] if child else params


def descend(
    state: TrainState,
    child: str | tuple[str, ...],
    tx: Any,
    loss_of: Callable[[Tree], tuple[jax.Array, tuple[Tree, Any]]],
) -> tuple[TrainState, jax.Array, Any]:
    """One optimizer step of `child` down loss_of(params) -> (loss, (buffers, more)); others stay fixed.

    tx: the child's transformation. Several children that share a loss are a tuple, and tx a tuple with one
    for each. Returns (the new state, the loss, more).
    """
    children, transformations = ((child,), (tx,)) if isinstance(child, str) else (child, tx)

    def with_parts(values):
        return values[""] if child == "" else {**state.params, **values}

    def loss_of_parts(values):
        return loss_of(with_parts(values))

    values = {name: part(state.params, name) for name in children}
    (loss, (buffers, more)), gradients = jax.value_and_grad(loss_of_parts, has_aux=True)(values)
    optimizers = dict(state.optimizers)
    for name, tx in zip(children, transformations, strict=True):
        updates, optimizers[name] = tx.update(gradients[name], optimizers[name], values[name])
        values[name] = optax.apply_updates(values[name], updates)
    state = state._replace(params=with_parts(values), buffers=buffers, optimizers=optimizers)
    return state, loss, more
