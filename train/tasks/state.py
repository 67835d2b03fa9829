"""The state of a run: parameters, buffers and optimizer states, split from the model once.

A model is split into its ModelDef, which never changes, and its arrays, as nested dicts by path. A task's
step is a pure function of these arrays. It is compiled by one jit, and its state is donated.
`model_def.train(params, buffers, key)` merges the model again. The dropout masks of its layers follow from
the key.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx, traverse_util

from train.optim import linear_decay, to_optax
from train.recipes import Recipe

Tree = dict[str, Any]
"""Nested dicts of arrays, by path."""
Transformations = Mapping[str, optax.GradientTransformation]
"""{name of a child: its optimizer as an optax transformation}; "" is the whole model."""
BUFFERS = nnx.Not(nnx.Any(nnx.Param, nnx.RngState))


class TrainState(NamedTuple):
    """Everything that changes during training; the content of a checkpoint.

    step: () int32, the training steps taken (a training step of a GAN contains several optimizer steps).
    params, buffers: the model's arrays by path.
    optimizers: {name of a child: its optimizer's state}; "" is the whole model. extra: further arrays of a
    task, by name, such as averaged weights or earlier images.
    """

    step: jax.Array
    params: Tree
    buffers: Tree
    optimizers: dict[str, Any]
    extra: Tree


class ModelDef(NamedTuple):
    """A model without its arrays, in both modes.

    rng_state: the random state of its layers, by path; empty if no layer draws random numbers.
    """

    train_graph: nnx.GraphDef[Any]
    eval_graph: nnx.GraphDef[Any]
    rng_state: Tree

    def train(self, params: Tree, buffers: Tree, key: jax.Array | None = None) -> Any:
        """The model in training mode; the random numbers of its layers follow from the key."""
        return nnx.merge(self.train_graph, params, self._rng_state_of(key), buffers)

    def eval(self, params: Tree, buffers: Tree) -> Any:
        """The model in evaluation mode."""
        return nnx.merge(self.eval_graph, params, self.rng_state, buffers)

    @property
    def draws(self) -> bool:
        """Whether a layer draws random numbers in training."""
        return bool(jax.tree.leaves(self.rng_state))

    def _rng_state_of(self, key: jax.Array | None) -> Tree:
        """The random state that starts from a key, with a separate key for every layer."""
        if key is None:
            return self.rng_state
        leaves, structure = jax.tree.flatten(self.rng_state)
        started = [
            jax.random.fold_in(key, number)
            if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
            else jnp.zeros_like(leaf)
            for number, leaf in enumerate(leaves)
        ]
        return jax.tree.unflatten(structure, started)


def split_model(model: nnx.Module) -> tuple[ModelDef, Tree, Tree]:
    """(model definition, params, buffers). The model itself is left in training mode."""
    model.eval()
    eval_graph = nnx.graphdef(model)
    model.train()
    graph, *states = nnx.split(model, nnx.Param, nnx.RngState, ...)
    params, rng_state, buffers = map(nnx.to_pure_dict, states)
    return ModelDef(graph, eval_graph, rng_state), params, buffers


def merge_trees(params: Tree, buffers: Tree) -> Tree:
    """Both trees merged into one, the tree of the model's variables."""
    flat = {**traverse_util.flatten_dict(params), **traverse_util.flatten_dict(buffers)}
    return traverse_util.unflatten_dict(flat)


def buffers_of(model: nnx.Module) -> Tree:
    """The buffers of a model, which a forward pass may have changed: batch statistics and their counts."""
    return nnx.to_pure_dict(nnx.state(model, BUFFERS))


def child_params(params: Tree, child: str) -> Tree:
    """The parameters below one child of the root; "" is the root itself."""
    return params[child] if child else params


def build_transformations(recipe: Recipe, factor: Any = 1.0) -> dict[str, optax.GradientTransformation]:
    """{name of a child: its optimizer as an optax transformation}, for the optimizers of a recipe.

    factor: the number by which the learning rates of this step of the run are multiplied. It is an argument,
    because the step count of an imported optimizer state is the count of another run.
    """
    if isinstance(factor, float) and factor == 1:
        return {child: to_optax(config) for child, config in recipe.optimizers.items()}
    return {
        child: to_optax(config, lr=partial(_constant, config.lr * factor))
        for child, config in recipe.optimizers.items()
    }


def transformations_at(recipe: Any, step: Any) -> dict[str, optax.GradientTransformation]:
    """The transformations with the learning rates of a step of the run, for a recipe with `decay_after`."""
    return build_transformations(recipe, linear_decay(step, recipe.steps, recipe.decay_after))


def _constant(rate: Any, step: Any) -> Any:
    """The schedule of a rate that is the same at every step of the optimizer."""
    return rate


def init_state(params: Tree, buffers: Tree, transformations: Transformations) -> TrainState:
    """The state before the first step."""
    optimizers = {child: tx.init(child_params(params, child)) for child, tx in transformations.items()}
    return TrainState(jnp.zeros((), jnp.int32), params, buffers, optimizers, {})


def apply_gradients(
    state: TrainState,
    children: Sequence[str],
    transformations: Transformations,
    loss_of: Callable[[Tree], tuple[jax.Array, tuple[Tree, Any]]],
) -> tuple[TrainState, jax.Array, Any]:
    """Takes one optimizer step for these children and returns (new state, loss, auxiliary values).

    children: the trained children, or ("",) for the whole model. The parameters of the other children do not
    change. transformations: {name of a child: its optimizer}. loss_of: loss_of(params) -> (loss, (buffers,
    auxiliary values)).
    """

    def with_children(values: Tree) -> Tree:
        return values.get("", {**state.params, **values})

    def loss_of_children(values: Tree) -> tuple[jax.Array, tuple[Tree, Any]]:
        return loss_of(with_children(values))

    values = {child: child_params(state.params, child) for child in children}
    (loss, (buffers, aux)), gradients = jax.value_and_grad(loss_of_children, has_aux=True)(values)
    optimizers = dict(state.optimizers)
    for child in children:
        updates, optimizers[child] = transformations[child].update(
            gradients[child], optimizers[child], values[child]
        )
        updated: Any = optax.apply_updates(values[child], updates)
        values[child] = updated
    state = state._replace(params=with_children(values), buffers=buffers, optimizers=optimizers)
    return state, loss, aux
