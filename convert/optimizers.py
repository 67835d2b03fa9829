"""Converts optimizer state between optax and torch.optim, by the same plan as the weights.

The states of `train.optim` have torch's names. `STATES` also gives torch's names for optax's own states.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import torch
from flax import nnx, traverse_util

from convert.twins import child_of
from convert.weights import ConversionError, Leaf, leaves_to_flax, leaves_to_torch, plan, to_numpy
from train.optim import transformations
from train.recipes import Recipe

# {type of an optax state: {its field: torch's key}}. A field that torch does not have is left out.
STATES: dict[type, Mapping[str, str]] = {
    optax.TraceState: {"trace": "momentum_buffer"},
    optax.ScaleByAdamState: {"count": "step", "mu": "exp_avg", "nu": "exp_avg_sq"},
    **{
        cls: {field: field for field in cls._fields if field not in getattr(cls, "jax_only", ())}
        for cls in transformations.STATES
    },
}


def build_torch_optimizers(recipe: Recipe, model: torch.nn.Module) -> dict[str, torch.optim.Optimizer]:
    """The recipe's optimizers as torch optimizers, by the child that each one trains."""
    return {
        child: getattr(torch.optim, type(config).__name__)(
            child_of(model, child).parameters(), **dataclasses.asdict(config)
        )
        for child, config in recipe.optimizers.items()
    }


def optimizer_to_torch(
    state: Any, flax_module: nnx.Module, torch_module: torch.nn.Module, optimizer: torch.optim.Optimizer,
    **exceptions: Any,
) -> torch.optim.Optimizer:  # fmt: skip
    """Fills the torch optimizer of `torch_module` with the optax state of `flax_module` and returns it.

    The modules may be children of a model, such as a GAN's generator. exceptions: `rename` and `layouts`, as
    in `convert.weights.plan`. Errors: ConversionError for a state without an equivalent in torch.
    """
    names = [name for name, _ in torch_module.named_parameters()]
    moments = moments_to_torch(state, _trained_leaves(flax_module, names, exceptions))
    values = optimizer.state_dict()
    values["state"] = {
        index: {key: torch.tensor(array) for key, array in moments[name].items()}
        for index, name in enumerate(names)
        if moments.get(name)
    }
    optimizer.load_state_dict(values)
    return optimizer


def optimizer_to_flax(
    source: torch.optim.Optimizer | Mapping[str, Any], torch_module: torch.nn.Module,
    state: Any, flax_module: nnx.Module, **exceptions: Any,
) -> Any:  # fmt: skip
    """The optax state with the values of a torch optimizer (or its state dict) of `torch_module`.

    state: the optax state to fill, which gives the types. exceptions: as in `optimizer_to_torch`.
    Errors: ConversionError if the torch optimizer does not have a value that the optax state needs.
    """
    values = source.state_dict() if isinstance(source, torch.optim.Optimizer) else source
    if not values["state"]:
        return state  # the torch optimizer has taken no step
    names = [name for name, _ in torch_module.named_parameters()]
    leaves = _trained_leaves(flax_module, names, exceptions)
    by_name = {names[index]: entry for index, entry in values["state"].items()}

    def fill(known: Any) -> Any:
        fields = {}
        for field, key in STATES[type(known)].items():
            old = getattr(known, field)
            if old is None:
                continue
            missing = [name for name in names if by_name.get(name, {}).get(key) is None]
            if missing:
                raise ConversionError(f"the torch optimizer keeps no {key} for {', '.join(missing)}")
            arrays = {name: np.asarray(to_numpy(torch.as_tensor(by_name[name][key]))) for name in names}
            if key == "step":
                fields[field] = jnp.asarray(next(iter(arrays.values())), old.dtype)
            else:
                tree = traverse_util.unflatten_dict(leaves_to_flax(leaves, arrays))
                fields[field] = jax.tree.map(lambda a, b: jnp.asarray(b, a.dtype), old, tree)
        for field in getattr(known, "jax_only", ()):
            if getattr(known, field) is not None:
                fields[field] = jnp.ones_like(getattr(known, field))  # past the first step
        return known._replace(**fields)

    return _map_known(fill, state)


def moments_to_torch(state: Any, leaves: list[Leaf]) -> dict[str, dict[str, np.ndarray]]:
    """{torch parameter: {torch key: array}} of an optax state, in torch's layouts; {} before the first step.

    leaves: the plan of the module. Errors: ConversionError for a state without an equivalent in torch.
    """
    found: list[Any] = []

    def collect(known: Any) -> Any:
        found.append(known)
        return known

    _map_known(collect, state)
    if not found and jax.tree.leaves(state):
        raise ConversionError(f"no rule for the optimizer state {type(state).__name__}")
    moments: dict[str, dict[str, np.ndarray]] = {}
    for known in found:
        step = getattr(known, "step", None)
        if step is not None and int(step) == 0:
            continue  # torch has no state before the first step
        for field, key in STATES[type(known)].items():
            value = getattr(known, field)
            if value is None:
                continue
            if key == "step":
                arrays = {leaf.name: np.asarray(value, np.float32) for leaf in leaves}
            else:
                flat = {path: np.asarray(array) for path, array in traverse_util.flatten_dict(value).items()}
                arrays = leaves_to_torch(leaves, flat)
            for name, array in arrays.items():
                moments.setdefault(name, {})[key] = array
    return moments


def _trained_leaves(flax_module: nnx.Module, names: list[str], exceptions: Mapping[str, Any]) -> list[Leaf]:
    """The plan of the module.

    Errors: ConversionError if torch trains a parameter that the Flax module does not have.
    """
    leaves = plan(flax_module, **exceptions)
    torch_only = [leaf for leaf in leaves if leaf.path is None and leaf.name in names]
    if torch_only:
        reasons = ", ".join(f"{leaf.name} ({leaf.needed})" for leaf in torch_only)
        raise ConversionError(f"a run cannot continue if only torch trains {reasons}")
    return leaves


def _map_known(function: Callable[[Any], Any], state: Any) -> Any:
    """The state with `function` applied to every part whose type is in STATES."""
    if type(state) in STATES:
        return function(state)
    if isinstance(state, tuple):
        parts = [_map_known(function, part) for part in state]
        return type(state)(*parts) if hasattr(state, "_fields") else tuple(parts)
    return state
