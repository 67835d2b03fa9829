"""to_torch and to_flax: strict, complete, and both from one plan.

A plan lists every leaf of a Flax model with its place in the torch model. The two modules mirror
each other by path (`generator.fc.0`); what differs is named by the caller.
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
from convert.rules import Place, Rule, rule_for

Path = tuple[Any, ...]


class ConversionError(ValueError):
    """Some leaves have no place on the other side; the message names every one of them."""


class Leaf(NamedTuple):
    """One array of the Flax model, and its place in the torch state dict.

    path, shape: in the Flax model; the path is None for a leaf that only torch has. name: of the tensor.
    layout: how the array becomes the tensor. part, parts: the array is this one of equal parts of the tensor
    along axis 0. needed: for a leaf that only torch has, why a value other than 0 cannot be converted to Flax;
    where it is empty, the value is dropped.
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
        """Of the whole tensor."""
        shape = self.layout.torch_shape(self.shape)
        return shape if self.parts == 1 else (self.parts * shape[0], *shape[1:])


def dotted(path: Path) -> str:
    return ".".join(map(str, path))


def plan(
    model: nnx.Module, *, rename: Mapping[str, str] | None = None, layouts: Mapping[str, Layout] | None = None
) -> list[Leaf]:
    """Every leaf of a Flax model and where it stands in torch.

    rename: {dotted Flax path or prefix: torch path or prefix}; the longest prefix counts. A leaf
    renamed by its whole path is a tensor of its own, also where the rule makes it part of one.
    layouts: {dotted Flax path of a leaf: Layout}, in place of the rule's.

    Errors: ConversionError for layers without a rule or that torch has not, for exceptions that
    match no leaf, and for leaves that would take the same place.
    """
    rename, layouts = rename or {}, layouts or {}
    modules = {path: (module, rule_for(module) or Rule({})) for path, module in nnx.iter_modules(model)}
    leaves, faults, used, owners = [], [], set(), {}
    for path, variable in flat_variables(model).items():
        owner = _owner(path, modules)
        (module, rule), inner = modules[owner], dotted(path[len(owner) :])
        place = rule.leaves.get(inner, Place(inner))
        layout = layouts.get(dotted(path))
        if inner in rule.leaves:
            owners[owner] = module, rule
            layout = layout or (None if rule.refused else place.layout)
        name, prefix = _renamed(dotted((*owner, place.name)), dotted(path), rename)
        used |= {dotted(path), prefix}
        if layout is None:
            why = rule.refused or "give layouts={...}"
            faults.append(f"no rule for {dotted(path)} of {type(module).__name__}: {why}")
        elif not layout.fits(len(variable.shape)):
            faults.append(f"the layout of {dotted(path)} does not fit its shape {variable.shape}")
        elif prefix == dotted(path):  # its own name: no part of another tensor
            leaves.append(Leaf(path, name, layout, variable.shape))
        else:
            leaves.append(Leaf(path, name, layout, variable.shape, place.part, place.parts))
    for owner, (module, rule) in owners.items():
        for alone in rule.torch_only:
            name = dotted((*owner, alone.name))
            name, prefix = _renamed(name, name, rename)
            used.add(prefix)
            leaves.append(Leaf(None, name, SAME, alone.shape(module), needed=alone.needed))
    taken = Counter((leaf.name, leaf.part) for leaf in leaves)
    faults += [f"{count} leaves would be {name}" for (name, _), count in taken.items() if count > 1]
    faults += [f"{key!r} matches no leaf" for key in (*rename, *layouts) if key not in used]
    if faults:
        raise ConversionError("; ".join(faults))
    return leaves


def _owner(path: Path, modules: Mapping[Path, tuple[nnx.Module, Rule]]) -> Path:
    """The outermost module whose rule has the leaf; without one, the innermost."""
    around = [path[:cut] for cut in range(len(path)) if path[:cut] in modules]
    return next((p for p in around if dotted(path[len(p) :]) in modules[p][1].leaves), around[-1])


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
    misshapen, and nothing is changed. A leaf that by its rule torch alone has becomes 0. dtypes
    become those of the torch module.
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
    """Fills the Flax module from a torch module or its state dict, and returns it.

    Strict as `to_torch` is; what by its rule torch alone has is dropped where Flax computes the same
    without it, and a fault where not. Values are copies; dtypes become those of the Flax module.
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
    """{torch name: array}, of those leaves that have a value: weights, gradients or moments."""
    parts: dict[str, dict[int, np.ndarray]] = {}
    for leaf in leaves:
        if leaf.path is not None and leaf.path in values:
            parts.setdefault(leaf.name, {})[leaf.part] = leaf.layout.to_torch(values[leaf.path])
    whole = {leaf.name: leaf.parts for leaf in leaves}
    if halves := [name for name, found in parts.items() if len(found) < whole[name]]:
        raise ConversionError(f"only some parts have a value of {', '.join(halves)}")
    return {
        name: found[0] if whole[name] == 1 else np.concatenate([found[part] for part in range(whole[name])])
        for name, found in parts.items()
    }


def leaves_to_flax(leaves: list[Leaf], arrays: Mapping[str, np.ndarray]) -> dict[Path, np.ndarray]:
    """{Flax path: array}, the inverse of `leaves_to_torch`; copies, for torch trains in place."""
    values = {}
    for leaf in leaves:
        if leaf.path is not None and leaf.name in arrays:
            array = arrays[leaf.name]
            if leaf.parts > 1:
                array = np.split(array, leaf.parts)[leaf.part]
            values[leaf.path] = np.array(leaf.layout.to_flax(array, leaf.shape), order="C")
    return values


def to_numpy(tensor: torch.Tensor) -> np.ndarray:
    """A tensor's values; bfloat16, which NumPy has not, as float32."""
    tensor = tensor.detach().cpu()
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()


def from_numpy(array: np.ndarray) -> torch.Tensor:
    """A copy as a tensor; JAX's bfloat16, which torch does not read from NumPy, as float32."""
    return torch.tensor(array.astype(np.float32) if array.dtype.name == "bfloat16" else array)


def _misfits(given: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]) -> list[str]:
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


def _raise_any(faults: list[str], side: str) -> None:
    if faults:
        raise ConversionError(f"{len(faults)} leaves do not fit the {side} model: {'; '.join(faults)}")
