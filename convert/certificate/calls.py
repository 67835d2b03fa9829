"""The comparison of one call of a module and of its twin: outputs, every layer, and every gradient."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import torch
from flax import nnx, traverse_util

from convert.certificate.dropout import given_masks, record_masks
from convert.certificate.recording import record_outputs, recorded_outputs
from convert.certificate.tolerances import difference
from convert.layouts import activation
from convert.weights import leaves_to_torch, plan, to_numpy
from train.engine.devices import compiler_options
from train.tasks.state import buffers_of

Errors = dict[str, float]
"""{torch name of a layer or leaf: difference}."""


class Comparison(NamedTuple):
    """The differences of one call.

    outputs: of the outputs. layers: of the output of every layer. buffers: of the buffers after the call.
    inputs, parameters: of the gradients of the inputs and of every parameter, in training mode.
    largest: {parameter: the largest absolute value of its gradient}.
    """

    outputs: float
    layers: Errors
    buffers: Errors
    inputs: float
    parameters: Errors
    largest: Errors


def compare_call(
    flax_module: nnx.Module, torch_module: torch.nn.Module, arrays: Sequence[np.ndarray],
    *, gradients: bool, seed: int,
) -> Comparison:  # fmt: skip
    """The comparison of one call of both modules, in the mode that they are in.

    arrays: the inputs, channels last. gradients: compare the gradients along random cotangents too.
    """
    shapes = jax.eval_shape(lambda: nnx.clone(flax_module)(*arrays))
    rng = np.random.default_rng(seed)
    # The cotangents are drawn in torch's layout, whichever side comes first.
    cotangents = [
        rng.standard_normal(activation(y).torch_shape(y.shape)).astype(y.dtype)
        for y in jax.tree.leaves(shapes)
    ]
    ours = call_flax(flax_module, arrays, [activation(w).to_flax(w) for w in cotangents], gradients)
    tensors = [to_torch_input(array).requires_grad_(_is_float(array) and gradients) for array in arrays]
    with (
        given_masks(torch_module, ours["masks"]),  # hooks run in order: outputs are recorded with the masks
        recorded_outputs(torch_module) as their_layers,
        torch.set_grad_enabled(gradients),
    ):
        their_outputs = jax.tree.leaves(torch_module(*tensors))

    leaves = plan(flax_module)
    their_buffers = dict(torch_module.named_buffers())
    our_buffers = leaves_to_torch(leaves, ours["buffers"])
    inputs, parameters, largest = 0.0, {}, {}
    if gradients:
        names = dict(torch_module.named_parameters())
        wanted = [t for t in tensors if t.requires_grad]
        total = sum((t * torch.tensor(w)).sum() for t, w in zip(their_outputs, cotangents, strict=True))
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
    """The results of one jitted call on copies.

    "outputs", "layers" by dotted path in the order of the calls, dropout "masks" by path, "buffers" by path,
    and with gradients those of "inputs" and, by path, of "parameters".
    """
    graph, *state = nnx.split(module, nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, state)
    called: list[str] = []  # the layers in the order of their calls
    floats = {i: array for i, array in enumerate(arrays) if _is_float(array)}

    def total(params, floats):
        model: Any = nnx.merge(graph, params, rest)
        masks, layers = record_masks(model), record_outputs(model)
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
    result["layers"] = {name: result["layers"][name] for name in called}  # jit sorts the keys of a dict
    return result


def _is_float(array: np.ndarray) -> bool:
    return np.issubdtype(array.dtype, np.floating)


def as_dtype(array: np.ndarray, dtype: Any) -> np.ndarray:
    """The array in `dtype` where it holds floats; integers as they are."""
    return array.astype(dtype) if _is_float(array) else array


def to_torch_input(array: np.ndarray) -> torch.Tensor:
    """An input as torch takes it: images have their channels first."""
    return torch.tensor(activation(array).to_torch(array))


def output_difference(ours: Any, theirs: Any) -> float:
    """The difference of two outputs, arrays or nested tuples of them."""
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return max(
        (difference(activation(np.asarray(y)).to_torch(np.asarray(y)), to_numpy(t)) for y, t in pairs),
        default=0.0,
    )
