"""to_torch and to_flax: strict, complete, and both from one plan.

A plan lists every leaf of a Flax model with its place in the torch model. The two modules mirror
each other by path (`generator.fc.0`); what differs is named by the caller.
"""

import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from convert.layouts import Layout
from convert.rules import rule_for

Path = tuple[Any, ...]


class ConversionError(ValueError):
    """Some leaves have no place on the other side; the message names every one of them."""


class Leaf(NamedTuple):
    """One array of both models. path: in the Flax model. name: in the torch state dict."""

    path: Path
    name: str
    layout: Layout


def dotted(path: Path) -> str:
    return ".".join(map(str, path))


def plan(
    model: nnx.Module, *, rename: Mapping[str, str] | None = None, layouts: Mapping[str, Layout] | None = None
) -> list[Leaf]:
    """Every leaf of a Flax model and where it stands in torch.

    rename: {dotted Flax path or prefix: torch path or prefix}; the longest prefix counts.
    layouts: {dotted Flax path of a leaf: Layout}, in place of the rule's.

    Errors: ConversionError for layers without a rule, and for exceptions that match no leaf.
    """
    rename, layouts = rename or {}, layouts or {}
    rules = {path: (module, rule_for(module)) for path, module in nnx.iter_modules(model)}
    leaves, faults, used = [], [], set()
    for path, _ in flat_variables(model).items():
        owner, (module, rule) = path[:-1], rules[path[:-1]]
        name, layout = (rule or {}).get(path[-1], (path[-1], None))
        if dotted(path) in layouts:
            layout = layouts[dotted(path)]
            used.add(dotted(path))
        if layout is None:
            faults.append(f"no rule for {dotted(path)} of {type(module).__name__}: give layouts={{...}}")
            continue
        torch_name, prefix = _renamed(dotted((*owner, name)), dotted(path), rename)
        used.add(prefix)
        leaves.append(Leaf(path, torch_name, layout))
    faults += [f"{key!r} matches no leaf" for key in (*rename, *layouts) if key not in used]
    if faults:
        raise ConversionError("; ".join(faults))
    return leaves


def _renamed(torch_name: str, flax_name: str, rename: Mapping[str, str]) -> tuple[str, str | None]:
    for prefix in sorted(rename, key=len, reverse=True):
        if flax_name == prefix:
            return rename[prefix], prefix
        if torch_name.startswith(f"{prefix}."):
            return f"{rename[prefix]}{torch_name[len(prefix) :]}".lstrip("."), prefix
    return torch_name, None


def flat_variables(model: nnx.Module) -> dict[Path, nnx.Variable]:
    """The model's variables by path, without those that only count random draws."""
    state = nnx.state(model, nnx.Not(nnx.RngState))
    return dict(nnx.to_flat_state(state))


def to_torch(
    flax_module: nnx.Module, torch_module: torch.nn.Module,
    *, rename: Mapping[str, str] | None = None, layouts: Mapping[str, Layout] | None = None,
) -> torch.nn.Module:  # fmt: skip
    """Fills the torch module with the Flax module's values, and returns it.

    Every leaf of both is placed, or ConversionError lists all that are missing, unexpected or
    misshapen, and nothing is changed. dtypes become those of the torch module.
    """
    values = {path: np.asarray(variable[...]) for path, variable in flat_variables(flax_module).items()}
    target = torch_module.state_dict()
    leaves = plan(flax_module, rename=rename, layouts=layouts)
    arrays = leaves_to_torch(leaves, values)
    _check_complete(arrays, {name: tuple(tensor.shape) for name, tensor in target.items()}, "torch")
    state = {name: from_numpy(array).to(target[name].dtype) for name, array in arrays.items()}
    torch_module.load_state_dict(state)
    return torch_module


def to_flax(
    source: torch.nn.Module | Mapping[str, torch.Tensor], flax_module: nnx.Module,
    *, rename: Mapping[str, str] | None = None, layouts: Mapping[str, Layout] | None = None,
) -> nnx.Module:  # fmt: skip
    """Fills the Flax module from a torch module or its state dict, and returns it.

    Strict as `to_torch` is; dtypes become those of the Flax module.
    """
    state = source.state_dict() if isinstance(source, torch.nn.Module) else source
    arrays = {name: to_numpy(tensor) for name, tensor in state.items()}
    leaves = plan(flax_module, rename=rename, layouts=layouts)
    variables = flat_variables(flax_module)
    expected = {leaf.name: leaf.layout.torch_shape(variables[leaf.path].shape) for leaf in leaves}
    _check_complete(arrays, expected, "Flax")
    for path, array in leaves_to_flax(leaves, arrays).items():
        variables[path].set_value(jnp.array(array, variables[path].dtype))  # a copy: torch trains in place
    return flax_module


def leaves_to_torch(leaves: list[Leaf], values: Mapping[Path, np.ndarray]) -> dict[str, np.ndarray]:
    """{torch name: array}, of those leaves that have a value: weights, gradients or moments."""
    return {leaf.name: leaf.layout.to_torch(values[leaf.path]) for leaf in leaves if leaf.path in values}


def leaves_to_flax(leaves: list[Leaf], arrays: Mapping[str, np.ndarray]) -> dict[Path, np.ndarray]:
    """{Flax path: array}, the inverse of `leaves_to_torch`."""
    return {leaf.path: leaf.layout.to_flax(arrays[leaf.name]) for leaf in leaves if leaf.name in arrays}


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A tensor's values; bfloat16, which NumPy has not, as float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def from_numpy(array: np.ndarray) -> torch.Tensor:
    """A copy as a tensor; JAX's bfloat16, which torch does not read from NumPy, as float32."""
    return torch.tensor(array.astype(np.float32) if array.dtype.name == "bfloat16" else array)


def _check_complete(
    given: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]], side: str
) -> None:
    faults = []
    for name in expected:
        if name not in given:
            near = difflib.get_close_matches(name, set(given) - set(expected), n=1, cutoff=0.8)
            faults.append(f"missing {name} {expected[name]}" + (f" (near: {near[0]})" if near else ""))
    for name, array in given.items():
        if name not in expected:
            faults.append(f"unexpected {name} {array.shape}")
        elif array.shape != expected[name]:
            faults.append(f"misshapen {name}: {array.shape}, the {side} model has {expected[name]}")
    if faults:
        raise ConversionError(f"{len(faults)} leaves do not fit the {side} model: {'; '.join(faults)}")
