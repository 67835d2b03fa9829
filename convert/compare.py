"""One call of a module and of its twin, compared: outputs, every layer, and every gradient."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
from flax import nnx, traverse_util

from convert.layouts import activation
from convert.masks import given_masks, recorded_masks
from convert.tolerances import difference
from convert.weights import dotted, leaves_to_torch, plan, to_numpy
from train.backend import compiler_options
from train.state import buffers_of

Errors = dict[str, float]  # {torch name of a layer or leaf: difference}


class Comparison(NamedTuple):
    """Differences of one call: of the outputs, of what every layer put out, of the buffers
    afterwards, and (in training mode) of the gradients of inputs and of every parameter."""

    outputs: float
    layers: Errors
    buffers: Errors
    inputs: float
    parameters: Errors
    largest: Errors  # {parameter: the largest of its gradient}


def compare_call(
    flax_module: nnx.Module, torch_module: torch.nn.Module, arrays: Sequence[np.ndarray],
    *, gradients: bool, seed: int,
) -> Comparison:  # fmt: skip
    """Calls both once, in the mode they are in; gradients are those of random cotangents."""
    shapes = jax.eval_shape(lambda: nnx.clone(flax_module)(*arrays))
    rng = np.random.default_rng(seed)
    # Drawn as torch's outputs lie, so that they do not depend on who is asked first.
    drawn = [
        rng.standard_normal(activation(y).torch_shape(y.shape)).astype(y.dtype)
        for y in jax.tree.leaves(shapes)
    ]
    along = [activation(w).to_flax(w) for w in drawn]
    ours = call_flax(flax_module, arrays, along, gradients)
    tensors = [to_torch_input(array).requires_grad_(_is_float(array) and gradients) for array in arrays]
    with (
        hooked(torch_module) as their_layers,
        torch.set_grad_enabled(gradients),
        given_masks(ours["masks"]),
    ):
        their_outputs = jax.tree.leaves(torch_module(*tensors))

    leaves = plan(flax_module)
    their_buffers = dict(torch_module.named_buffers())
    our_buffers = leaves_to_torch(leaves, ours["buffers"])
    inputs, parameters, largest = 0.0, {}, {}
    if gradients:
        names = dict(torch_module.named_parameters())
        wanted = [t for t in tensors if t.requires_grad]
        total = sum((t * torch.tensor(w)).sum() for t, w in zip(their_outputs, drawn, strict=True))
        theirs = torch.autograd.grad(total, [*wanted, *names.values()], materialize_grads=True)
        inputs = output_difference(ours["inputs"], theirs[: len(wanted)])
        of_leaves = leaves_to_torch(leaves, ours["parameters"])
        of_theirs = dict(zip(names, map(to_numpy, theirs[len(wanted) :]), strict=True))
        parameters = {name: difference(of_leaves[name], of_theirs[name]) for name in names}
        largest = {name: float(np.abs(gradient).max()) for name, gradient in of_theirs.items()}
    return Comparison(
        outputs=output_difference(ours["outputs"], their_outputs),
        layers={
            name: output_difference(output, their_layers[name])
            for name, output in ours["layers"].items()
            if name and name in their_layers
        },
        buffers={name: difference(our_buffers[name], to_numpy(b)) for name, b in their_buffers.items()},
        inputs=inputs,
        parameters=parameters,
        largest=largest,
    )


def call_flax(
    module: nnx.Module, arrays: Sequence[np.ndarray], cotangents: Sequence[np.ndarray], gradients: bool
) -> dict[str, Any]:
    """One jitted call on copies: outputs, layers, dropout masks in the order of their use, buffers by path,
    and gradients by path and of inputs."""
    graph, *state = nnx.split(module, nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, state)
    called: list[str] = []  # the layers in the order of their calls
    floats = {i: array for i, array in enumerate(arrays) if _is_float(array)}

    def total(params, floats):
        model = nnx.merge(graph, params, rest)
        with recorded(model) as layers, recorded_masks() as masks:
            outputs = jax.tree.leaves(model(*(floats.get(i, array) for i, array in enumerate(arrays))))
        called[:] = layers
        value = sum((y * w).sum() for y, w in zip(outputs, cotangents, strict=True))
        return value, {"outputs": outputs, "layers": layers, "masks": masks, "buffers": buffers_of(model)}

    def run(params, floats):
        if not gradients:
            return total(params, floats)[1]
        (of_params, of_inputs), aux = jax.grad(total, argnums=(0, 1), has_aux=True)(params, floats)
        return {**aux, "parameters": of_params, "inputs": list(of_inputs.values())}

    result = jax.tree.map(np.asarray, jax.jit(run, compiler_options=compiler_options())(params, floats))
    for name in {"buffers", "parameters"} & result.keys():
        result[name] = traverse_util.flatten_dict(result[name])
    result["layers"] = {name: result["layers"][name] for name in called}  # jit sorts a dict's keys
    return result


def _is_float(array: np.ndarray) -> bool:
    return np.issubdtype(array.dtype, np.floating)


def as_dtype(array: np.ndarray, dtype: Any) -> np.ndarray:
    """Floating numbers in `dtype`; integers as they are."""
    return array.astype(dtype) if _is_float(array) else array


def to_torch_input(array: np.ndarray) -> torch.Tensor:
    """An input as torch takes it: images channels first."""
    return torch.tensor(activation(array).to_torch(array))


def output_difference(ours: Any, theirs: Any) -> float:
    """The difference of two outputs, arrays or nested tuples of them."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(
        (difference(activation(np.asarray(y)).to_torch(np.asarray(y)), to_numpy(t)) for y, t in pairs),
        default=0.0,
    )


@contextlib.contextmanager
def recorded(model: nnx.Module) -> Iterator[dict[str, Any]]:
    """Within it, every call of a module below `model` leaves its output by dotted path."""
    outputs: dict[str, Any] = {}
    names = {id(module): dotted(path) for path, module in nnx.iter_modules(model)}
    definers = {
        next(cls for cls in type(module).__mro__ if "__call__" in vars(cls))
        for _, module in nnx.iter_modules(model)
        if callable(module)
    }
    originals = {cls: vars(cls)["__call__"] for cls in definers}

    def recording(original: Any) -> Any:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            output = original(self, *args, **kwargs)
            if id(self) in names:
                outputs[names[id(self)]] = output
            return output

        return call

    for cls, original in originals.items():
        setattr(cls, "__call__", recording(original))  # noqa: B010
    try:
        yield outputs
    finally:
        for cls, original in originals.items():
            setattr(cls, "__call__", original)  # noqa: B010


@contextlib.contextmanager
def hooked(model: torch.nn.Module) -> Iterator[dict[str, Any]]:
    """The same for a torch module."""
    outputs: dict[str, Any] = {}

    def hook(name: str) -> Any:
        return lambda module, args, output: outputs.__setitem__(name, output)

    handles = [module.register_forward_hook(hook(name)) for name, module in model.named_modules()]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()
