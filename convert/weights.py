"""Converts weights completely and strictly. One plan serves both directions.

A plan lists every leaf of a Flax model with its tensor in the torch model. The two modules have the same
paths (`generator.fc.0`); the caller gives the exceptions.
"""

import difflib
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from convert.layouts import SAME, Layout
from convert.rules import Rule, TorchLeaf, rule_for

Path = tuple[Any, ...]


class ConversionError(ValueError):
    """Leaves that cannot be converted; the message names every one of them."""


class Leaf(NamedTuple):
    """One array of the Flax model and its tensor in the torch state dict.

    path, shape: the path and the shape of the Flax array. name: the name of the torch tensor. layout: how the
    array becomes the tensor. parts: how many Flax arrays the tensor concatenates along axis 0. part: the
    index of this array.

    A torch-only leaf has no Flax array: its path is None, and its shape is the shape of the tensor. needed:
    for a torch-only leaf, the reason why a value other than 0 cannot be converted to Flax; if the reason is
    empty, `to_flax` drops the value.
    """

    path: Path | None
    name: str
    layout: Layout
    shape: tuple[int, ...]
    part: int = 0
    parts: int = 1
    needed: str = ""

    @property
    def torch_shape(self) -> tuple[int, ...]:
        """The shape of the whole tensor."""
        shape = self.layout.torch_shape(self.shape)
        return shape if self.parts == 1 else (self.parts * shape[0], *shape[1:])


def dotted(path: Path) -> str:
    """The path as text, such as "generator.fc.0.weight"."""
    return ".".join(map(str, path))


def plan(
    model: nnx.Module, *, rename: Mapping[str, str] | None = None, layouts: Mapping[str, Layout] | None = None
) -> list[Leaf]:
    """Every leaf of a Flax model with its tensor in torch.

    rename: {dotted Flax path or prefix: torch path or prefix}; the longest matching prefix is used. A leaf
    that is renamed by its whole path becomes a whole tensor, even if its rule makes it a part of one.
    layouts: {dotted Flax path of a leaf: Layout}, which replaces the layout of the rule.

    Errors: ConversionError for layers without a rule or without an equivalent in torch, for exceptions that
    match no leaf, and for several leaves of one name.
    """
    rename, layouts = rename or {}, layouts or {}
    modules = {path: (module, rule_for(module) or Rule({})) for path, module in nnx.iter_modules(model)}
    leaves, faults, used, owners = [], [], set(), {}
    for path, variable in flat_variables(model).items():
        owner = _owner(path, modules)
        (module, rule), inner = modules[owner], dotted(path[len(owner) :])
        target = rule.leaves.get(inner, TorchLeaf(inner))
        layout = layouts.get(dotted(path))
        if inner in rule.leaves:
            owners[owner] = module, rule
            layout = layout or (None if rule.refused else target.layout)
        name, prefix = _renamed(dotted((*owner, target.name)), dotted(path), rename)
        used |= {dotted(path), prefix}
        if layout is None:
            why = rule.refused or "give layouts={...}"
            faults.append(f"no rule for {dotted(path)} of {type(module).__name__}: {why}")
        elif not layout.fits(len(variable.shape)):
            faults.append(f"the layout of {dotted(path)} does not fit its shape {variable.shape}")
        elif prefix == dotted(path):  # renamed by its whole path, so it is not a part of another tensor
            leaves.append(Leaf(path, name, layout, variable.shape))
        else:
            leaves.append(Leaf(path, name, layout, variable.shape, target.part, target.parts))
    for owner, (module, rule) in owners.items():
        for torch_only in rule.torch_only:
            name = dotted((*owner, torch_only.name))
            name, prefix = _renamed(name, name, rename)
            used.add(prefix)
            leaves.append(Leaf(None, name, SAME, torch_only.shape(module), needed=torch_only.needed))
    counts = Counter((leaf.name, leaf.part) for leaf in leaves)
    faults += [f"{count} leaves would be {name}" for (name, _), count in counts.items() if count > 1]
    faults += [f"{key!r} matches no leaf" for key in (*rename, *layouts) if key not in used]
    if faults:
        raise ConversionError("; ".join(faults))
    return leaves


def _owner(path: Path, modules: Mapping[Path, tuple[nnx.Module, Rule]]) -> Path:
    """The path of the outermost module whose rule has the leaf, or else of the innermost module."""
    parents = [path[:cut] for cut in range(len(path)) if path[:cut] in modules]
    return next((p for p in parents if dotted(path[len(p) :]) in modules[p][1].leaves), parents[-1])


def _renamed(torch_name: str, flax_name: str, rename: Mapping[str, str]) -> tuple[str, str | None]:
    """(the new torch name, the key of `rename` that gave it); the key is None if none matches."""
    for prefix in sorted(rename, key=len, reverse=True):
        if flax_name == prefix:
            return rename[prefix], prefix
        if torch_name.startswith(f"{prefix}."):
            return f"{rename[prefix]}{torch_name[len(prefix) :]}".lstrip("."), prefix
    return torch_name, None


def flat_variables(model: nnx.Module) -> dict[Path, nnx.Variable]:
    """The model's variables by path, without the state of its random number generators."""
    state = nnx.state(model, nnx.Not(nnx.RngState))
    return dict(nnx.to_flat_state(state))


def to_torch(
    flax_module: nnx.Module, torch_module: torch.nn.Module,
    *, rename: Mapping[str, str] | None = None, layouts: Mapping[str, Layout] | None = None,
) -> torch.nn.Module:  # fmt: skip
    """Fills the torch module with the values of the Flax module and returns it.

    Values get the dtypes of the torch module. A torch-only leaf (by its rule) becomes 0. rename, layouts:
    exceptions, as in `plan`.
    Errors: ConversionError that lists every missing, unexpected and misshapen leaf; nothing is changed then.
    """
    values = {path: np.asarray(variable[...]) for path, variable in flat_variables(flax_module).items()}
    target = torch_module.state_dict()
    leaves = plan(flax_module, rename=rename, layouts=layouts)
    arrays = leaves_to_torch(leaves, values)
    arrays |= {leaf.name: np.zeros(leaf.shape) for leaf in leaves if leaf.path is None}
    _raise_any(_misfits(arrays, {name: tuple(tensor.shape) for name, tensor in target.items()}), "torch")
    state = {name: from_numpy(array).to(target[name].dtype) for name, array in arrays.items()}
    torch_module.load_state_dict(state)
    return torch_module


def to_flax(
    source: torch.nn.Module | Mapping[str, torch.Tensor], flax_module: nnx.Module,
    *, rename: Mapping[str, str] | None = None, layouts: Mapping[str, Layout] | None = None,
) -> nnx.Module:  # fmt: skip
    """Fills the Flax module with the values of a torch module, or of its state dict, and returns it.

    Values are copied and get the dtypes of the Flax module. A torch-only leaf (by its rule) is dropped if
    Flax computes the same without it; otherwise it must be 0. rename, layouts: exceptions, as in `plan`.
    Errors: ConversionError that lists every missing, unexpected and misshapen leaf, and every torch-only leaf
    that Flax would need; nothing is changed then.
    """
    state = source.state_dict() if isinstance(source, torch.nn.Module) else source
    arrays = {name: to_numpy(tensor) for name, tensor in state.items()}
    leaves = plan(flax_module, rename=rename, layouts=layouts)
    faults = _misfits(arrays, {leaf.name: leaf.torch_shape for leaf in leaves})
    faults += [
        f"{leaf.name} is not 0, and {leaf.needed}"
        for leaf in leaves
        if leaf.needed and leaf.name in arrays and arrays[leaf.name].any()
    ]
    _raise_any(faults, "Flax")
    variables = flat_variables(flax_module)
    for path, array in leaves_to_flax(leaves, arrays).items():
        variables[path].set_value(jnp.asarray(array, variables[path].dtype))
    return flax_module


def leaves_to_torch(leaves: list[Leaf], values: Mapping[Path, np.ndarray]) -> dict[str, np.ndarray]:
    """{torch name: array} of the leaves that have a value.

    values: {Flax path: array}, of weights, gradients or moments. Errors: ConversionError if only some parts
    of a tensor have values.
    """
    parts: dict[str, dict[int, np.ndarray]] = {}
    for leaf in leaves:
        if leaf.path is not None and leaf.path in values:
            parts.setdefault(leaf.name, {})[leaf.part] = leaf.layout.to_torch(values[leaf.path])
    count = {leaf.name: leaf.parts for leaf in leaves}
    if incomplete := [name for name, found in parts.items() if len(found) < count[name]]:
        raise ConversionError(f"{', '.join(incomplete)} has values for only some of its parts")
    return {
        name: found[0] if count[name] == 1 else np.concatenate([found[part] for part in range(count[name])])
        for name, found in parts.items()
    }


def leaves_to_flax(leaves: list[Leaf], arrays: Mapping[str, np.ndarray]) -> dict[Path, np.ndarray]:
    """{Flax path: array}, the inverse of `leaves_to_torch`. Arrays are copied: torch trains in place."""
    values = {}
    for leaf in leaves:
        if leaf.path is not None and leaf.name in arrays:
            array = arrays[leaf.name]
            if leaf.parts > 1:
                array = np.split(array, leaf.parts)[leaf.part]
            values[leaf.path] = np.array(leaf.layout.to_flax(array, leaf.shape), order="C")
    return values


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A tensor as an array; bfloat16, which NumPy does not have, becomes float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def from_numpy(array: np.ndarray) -> torch.Tensor:
    """An array as a new tensor; bfloat16, which torch does not read from NumPy, becomes float32."""
    return torch.tensor(array.astype(np.float32) if array.dtype.name == "bfloat16" else array)


def _misfits(given: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]) -> list[str]:
    """A message for every missing, unexpected and misshapen leaf."""
    faults = []
    for name in expected:
        if name not in given:
            near = difflib.get_close_matches(name, set(given) - set(expected), n=1, cutoff=0.8)
            faults.append(f"missing {name} {expected[name]}" + (f" (near: {near[0]})" if near else ""))
    for name, array in given.items():
        if name not in expected:
            faults.append(f"unexpected {name} {array.shape}")
        elif array.shape != expected[name]:
            faults.append(f"misshapen {name}: {array.shape}, expected {expected[name]}")
    return faults


def _raise_any(faults: list[str], framework: str) -> None:
    if faults:
        raise ConversionError(f"{len(faults)} leaves do not fit the {framework} model: {'; '.join(faults)}")
