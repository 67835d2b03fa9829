"""The same training steps in both frameworks, from the same state, with the same random numbers.

In float64 both frameworks keep their own state over all steps. In float32 this is not possible, because
rounding alone makes two runs of torch diverge: after 20 steps of Adam the losses of a GAN differ by 1.0 from
those in float64. In float32 every Flax step therefore starts from torch's state, converted before each step.
For a chaotic model the same is done in float64: one whose training amplifies rounding so much that torch
leaves torch, if its weights start one rounding away.
"""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx, traverse_util

from convert.certificate.calls import as_dtype, options_for, to_torch_input
from convert.certificate.dropout import Masks, given_masks, record_masks
from convert.certificate.tolerances import difference
from convert.optimizers import (
    build_torch_optimizers,
    moments_to_torch,
    optimizer_to_flax,
    optimizer_to_torch,
)
from convert.twins import Example, child_of
from convert.weights import leaves_to_flax, leaves_to_torch, plan, to_numpy
from torch_models.steps import REFERENCE_STEPS
from train.backend import short_compiler_options
from train.recipes import Recipe
from train.tasks import build_task
from train.tasks.state import TrainState

_TorchTwin = tuple[torch.nn.Module, Mapping[str, torch.optim.Optimizer]]
"""A torch model and its optimizers, by child."""


class Lockstep(NamedTuple):
    """The largest differences of some training steps.

    losses: of a loss. leaves: {leaf, or "leaf:moment": of its values}. drift: {leaf: between two torch models
    after the last step, whose weights were one rounding apart before the first}; {} if it was not asked for.
    """

    losses: float
    leaves: dict[str, float]
    drift: dict[str, float]


def run_lockstep(
    recipe: Recipe, flax_model: nnx.Module, torch_model: torch.nn.Module, examples: Mapping[str, Example],
    *, steps: int, batch: int, seed: int, free: bool, leaves: bool = True, drift: bool = False,
    optimizers: Mapping[str, Any] | None = None,
) -> Lockstep:  # fmt: skip
    """The differences between both frameworks over the same training steps.

    The models must have the same weights; the torch model is trained in place. examples: {name: array} of a
    training step. steps, batch: the number of steps and their batch size. seed: the seed of the random
    numbers. free: True keeps the Flax side's own state over all steps, and compares leaves after the last
    step. False gives the Flax side torch's state before every step, and compares leaves after each step.
    leaves: whether leaves are compared; without them only losses are. drift: also train a second torch model,
    whose weights start one rounding away.
    optimizers: optax states to start from; without them both sides start with new optimizers.
    """
    batch *= recipe.batch_splits  # a batch norm needs enough examples in every part of a batch
    recipe = dataclasses.replace(
        recipe, steps=steps
    )  # so that a decaying learning rate decays in these steps
    recording = nnx.clone(flax_model)
    masks = record_masks(recording)
    task = build_task(recipe, recording)
    state: TrainState = task.initial_state()
    dtype = jax.tree.leaves(state.params)[0].dtype
    if optimizers is not None:
        cast = jax.tree.map(lambda leaf: jnp.asarray(as_dtype(np.asarray(leaf), dtype)), dict(optimizers))
        state = state._replace(optimizers=cast)
    torch_optimizers = build_torch_optimizers(recipe, torch_model)
    for child, optimizer in torch_optimizers.items():
        flax_child, torch_child = child_of(flax_model, child), child_of(torch_model, child)
        optimizer_to_torch(state.optimizers[child], flax_child, torch_child, optimizer)
    twins: list[_TorchTwin] = [(torch_model, torch_optimizers)]
    if drift:
        twins.append(_one_rounding_away(recipe, torch_model, torch_optimizers))
    references = [REFERENCE_STEPS[recipe.task](*twin, **recipe.step_options) for twin in twins]
    step = jax.jit(_with_masks(task.step, masks), compiler_options=options_for(dtype))
    draw = jax.jit(task.draw, static_argnums=1, compiler_options=short_compiler_options())
    rng = np.random.default_rng(seed)
    loss_error, errors = 0.0, {}
    for number in range(steps):
        if not free:
            state = state_from_torch(state, flax_model, torch_model, torch_optimizers)
        arrays = {name: as_dtype(example.draw(rng, batch), dtype) for name, example in examples.items()}
        noise = jax.tree.map(np.asarray, draw(jax.random.key(seed + number), batch))
        state, flax_losses, drawn = step(state, jax.tree.map(jnp.asarray, arrays), noise)
        torch_losses = []
        for (model, _), reference in zip(twins, references, strict=True):
            with given_masks(model, drawn):
                losses = reference(
                    {name: to_torch_input(array) for name, array in arrays.items()},
                    {name: to_torch_input(as_dtype(array, dtype)) for name, array in noise.items()},
                )
            torch_losses.append(losses)
        for name, loss in flax_losses.items():
            loss_error = max(loss_error, difference(np.asarray(loss), to_numpy(torch_losses[0][name])))
        if leaves and (not free or number == steps - 1):
            new = state_errors(state, flax_model, torch_model, torch_optimizers)
            errors = {name: max(error, errors.get(name, 0.0)) for name, error in new.items()}
    apart = {}
    if drift:
        here, there = (_torch_values(*twin) for twin in twins)
        apart = {name: difference(here[name], there[name]) for name in here}
    return Lockstep(loss_error, errors, apart)


def _one_rounding_away(
    recipe: Recipe, model: torch.nn.Module, optimizers: Mapping[str, torch.optim.Optimizer]
) -> _TorchTwin:
    """A copy of a model, whose parameters are the next larger numbers, and of the state of its optimizers."""
    near = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in near.parameters():
            parameter.copy_(torch.nextafter(parameter, torch.full_like(parameter, torch.inf)))
    copies = build_torch_optimizers(recipe, near)
    for child, optimizer in copies.items():
        optimizer.load_state_dict(copy.deepcopy(optimizers[child].state_dict()))
    return near, copies


def _torch_values(
    model: torch.nn.Module, optimizers: Mapping[str, torch.optim.Optimizer]
) -> dict[str, np.ndarray]:
    """{leaf, or "leaf:moment": its value} of a torch model and its optimizers, by child."""
    values = {name: to_numpy(tensor) for name, tensor in model.state_dict().items()}
    for child, optimizer in optimizers.items():
        for name, parameter in child_of(model, child).named_parameters():
            path = f"{child}.{name}" if child else name
            for key, value in optimizer.state[parameter].items():
                if value is not None:
                    values[f"{path}:{key}"] = to_numpy(torch.as_tensor(value))
    return values


def _with_masks(step: Callable[..., Any], masks: Masks) -> Callable[..., Any]:
    """A step that also returns its dropout masks: (state, losses, masks).

    masks: the dict that the model fills during the step.
    """

    def with_masks(state: TrainState, batch: Any, noise: Any) -> Any:
        masks.clear()
        state, losses = step(state, batch, noise)
        return state, losses, dict(masks)

    return with_masks


def state_from_torch(
    state: TrainState, flax_model: nnx.Module, torch_model: torch.nn.Module,
    optimizers: Mapping[str, Any],
) -> TrainState:  # fmt: skip
    """The TrainState with the values of a torch model and of its optimizers.

    state: the TrainState to fill, which gives the types. optimizers: torch optimizers, or their state dicts,
    by child.
    """
    arrays = {name: to_numpy(tensor) for name, tensor in torch_model.state_dict().items()}
    flat = leaves_to_flax(plan(flax_model), arrays)

    def filled(tree: Any) -> Any:
        old: Any = traverse_util.flatten_dict(tree)
        return traverse_util.unflatten_dict({path: jnp.asarray(flat[path], old[path].dtype) for path in old})

    states = {
        child: optimizer_to_flax(
            optimizer, child_of(torch_model, child), state.optimizers[child], child_of(flax_model, child)
        )
        for child, optimizer in optimizers.items()
    }
    return state._replace(
        params=filled(state.params), buffers=filled(state.buffers), optimizers={**state.optimizers, **states}
    )


def state_errors(
    state: TrainState, flax_model: nnx.Module, torch_model: torch.nn.Module,
    optimizers: Mapping[str, torch.optim.Optimizer],
) -> dict[str, float]:  # fmt: skip
    """{leaf, or "leaf:moment": difference} between a TrainState and a torch model with its optimizers."""
    flat = {**traverse_util.flatten_dict(state.params), **traverse_util.flatten_dict(state.buffers)}
    arrays = leaves_to_torch(plan(flax_model), {path: np.asarray(array) for path, array in flat.items()})
    for child in optimizers:
        moments = moments_to_torch(state.optimizers[child], plan(child_of(flax_model, child)))
        for name, of_leaf in moments.items():
            path = f"{child}.{name}" if child else name
            arrays |= {f"{path}:{key}": array for key, array in of_leaf.items()}
    values = _torch_values(torch_model, optimizers)
    return {name: difference(arrays[name], value) for name, value in values.items()}
