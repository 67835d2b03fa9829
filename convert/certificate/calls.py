"""Compares one call of a module with the same call of its twin: the outputs of all layers, all gradients."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx, traverse_util

from convert.certificate.dropout import given_masks, record_masks
from convert.certificate.recording import record_flax_outputs, recorded_torch_outputs
from convert.certificate.tolerances import difference
from convert.layouts import activation_layout
from convert.weights import leaves_to_torch, plan, to_numpy
from train.backend import Options, compiler_options, short_compiler_options
from train.tasks.state import buffers_of

Errors = dict[str, float]
"""{torch name of a layer or leaf: difference}."""


class Comparison(NamedTuple):
    """The differences between two twins in one call.

    outputs: the difference of the outputs. layers: the differences of the output of every layer. buffers: the
    differences of the buffers after the call. inputs: the difference of the gradients of the inputs.
    parameters: the differences of the gradient of every parameter. If gradients are not compared, inputs is 0
    and parameters is {}. largest: {parameter: the largest absolute value of its gradient}.
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
    """The comparison of one call of both modules, in their current mode.

    arrays: the inputs, channels last. gradients: also compare the gradients of the outputs' sum, weighted by
    random cotangents. seed: the seed of the cotangents.
    """
    shapes = jax.eval_shape(lambda: nnx.clone(flax_module)(*arrays))
    rng = np.random.default_rng(seed)
    # In torch's layout, so that the same seed gives the same cotangents for every layout of the Flax outputs.
    cotangents = [
        rng.standard_normal(activation_layout(y).torch_shape(y.shape)).astype(y.dtype)
        for y in jax.tree.leaves(shapes)
    ]
    flax_call = call_flax(
        flax_module, arrays, [activation_layout(w).to_flax(w) for w in cotangents], gradients
    )
    tensors = [to_torch_input(array).requires_grad_(_is_float(array) and gradients) for array in arrays]
    with (
        given_masks(torch_module, flax_call["masks"]),  # its hooks run first, so outputs include the masks
        recorded_torch_outputs(torch_module) as torch_layers,
        torch.set_grad_enabled(gradients),
    ):
        torch_outputs = jax.tree.leaves(torch_module(*tensors))

    leaves = plan(flax_module)
    torch_buffers = dict(torch_module.named_buffers())
    flax_buffers = leaves_to_torch(leaves, flax_call["buffers"])
    inputs, parameters, largest = 0.0, {}, {}
    if gradients:
        named = dict(torch_module.named_parameters())
        float_inputs = [t for t in tensors if t.requires_grad]
        total: Any = sum((t * torch.tensor(w)).sum() for t, w in zip(torch_outputs, cotangents, strict=True))
        of_all = torch.autograd.grad(total, [*float_inputs, *named.values()], materialize_grads=True)
        inputs = output_difference(flax_call["inputs"], of_all[: len(float_inputs)])
        flax_gradients = leaves_to_torch(leaves, flax_call["parameters"])
        torch_gradients = dict(zip(named, map(to_numpy, of_all[len(float_inputs) :]), strict=True))
        parameters = {name: difference(flax_gradients[name], torch_gradients[name]) for name in named}
        largest = {name: float(np.abs(gradient).max()) for name, gradient in torch_gradients.items()}
    return Comparison(
        outputs=output_difference(flax_call["outputs"], torch_outputs),
        layers={
            name: output_difference(output, torch_layers[name])
            for name, output in flax_call["layers"].items()
            if name and name in torch_layers
        },
        buffers={name: difference(flax_buffers[name], to_numpy(b)) for name, b in torch_buffers.items()},
        inputs=inputs,
        parameters=parameters,
        largest=largest,
    )


def call_flax(
    module: nnx.Module, arrays: Sequence[np.ndarray], cotangents: Sequence[np.ndarray], gradients: bool
) -> dict[str, Any]:
    """The results of one jitted call of a copy of the module, as arrays.

    "outputs" and "buffers"; "layers", the outputs of all layers by dotted path in the order of the calls;
    "masks" of the dropout layers by dotted path; with `gradients` also the gradients of the "inputs" that are
    floats, and of the "parameters". Buffers and parameters are flat dicts by path.
    """
    graph, *state = nnx.split(module, nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, state)
    dtype = jax.tree.leaves(params)[0].dtype
    called: list[str] = []  # the layers in the order of their calls
    floats = {i: array for i, array in enumerate(arrays) if _is_float(array)}

    def total(params: Any, floats: Any) -> tuple[Any, dict[str, Any]]:
        model: Any = nnx.merge(graph, params, rest)
        masks, layers = record_masks(model), record_flax_outputs(model)
        outputs = jax.tree.leaves(model(*(floats.get(i, array) for i, array in enumerate(arrays))))
        called[:] = layers
        value = sum((y * w).sum() for y, w in zip(outputs, cotangents, strict=True))
        return value, {"outputs": outputs, "layers": layers, "masks": masks, "buffers": buffers_of(model)}

    def run(params: Any, floats: Any) -> dict[str, Any]:
        if not gradients:
            return total(params, floats)[1]
        (of_params, of_inputs), aux = jax.grad(total, argnums=(0, 1), has_aux=True)(params, floats)
        return {**aux, "parameters": of_params, "inputs": list(of_inputs.values())}

    result = jax.tree.map(np.asarray, jax.jit(run, compiler_options=options_for(dtype))(params, floats))
    for name in {"buffers", "parameters"} & result.keys():
        result[name] = traverse_util.flatten_dict(result[name])
    result["layers"] = {name: result["layers"][name] for name in called}  # jit sorts the keys of a dict
    return result


def options_for(dtype: Any) -> Options:
    """How the Flax side is compiled: float32 as in training; float64, which nobody trains in, sooner."""
    return short_compiler_options() if jnp.dtype(dtype) == jnp.float64 else compiler_options()


def _is_float(array: np.ndarray) -> bool:
    return np.issubdtype(array.dtype, np.floating)


def as_dtype(array: np.ndarray, dtype: Any) -> np.ndarray:
    """A float array converted to `dtype`; an integer array unchanged."""
    return array.astype(dtype) if _is_float(array) else array


def to_torch_input(array: np.ndarray) -> torch.Tensor:
    """An input as a torch tensor; images get their channels first."""
    return torch.tensor(activation_layout(array).to_torch(array))


def output_difference(flax_output: Any, torch_output: Any) -> float:
    """The largest difference of two outputs: a Flax array and a torch tensor, or nested tuples of them."""
    pairs = zip(jax.tree.leaves(flax_output), jax.tree.leaves(torch_output), strict=True)
    return max(
        (difference(activation_layout(np.asarray(y)).to_torch(np.asarray(y)), to_numpy(t)) for y, t in pairs),
        default=0.0,
    )
