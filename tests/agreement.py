"""The comparison of a pair: outputs, buffers, and first and second gradients, in float64.

Set AGREEMENT_REPORT=1 to print the largest error of every kind of module at the end.
"""

import atexit
import os
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx, traverse_util

from convert.certificate.tolerances import TOLERANCES, difference
from convert.weights import leaves_to_flax, leaves_to_torch, plan
from tests.compilation import QUICK
from tests.pairs import Pair
from train.tasks.state import BUFFERS, buffers_of

FORWARD, GRADIENT, _STEPS, LOSSES, _ = TOLERANCES["float64"]
assert _STEPS is not None
STEPS: float = _STEPS
largest: dict[str, dict[str, float]] = {}


def channels_first(x: np.ndarray) -> np.ndarray:
    """(N, ..., C) -> (N, C, ...), contiguous; arrays of less than three axes as they are."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1)) if x.ndim > 2 else x


def channels_last(x: np.ndarray) -> np.ndarray:
    """The inverse of `channels_first`."""
    return np.moveaxis(x, 1, -1) if x.ndim > 2 else x


def call(module: Any, *inputs: Any) -> Any:
    """The module's outputs."""
    return module(*inputs)


def assert_pair_agrees(
    pair: Pair, *inputs: np.ndarray, ours_call: Callable[..., Any] = call,
    theirs_call: Callable[..., Any] = call, images: bool = True, second: bool = False, seed: int = 0,
) -> None:  # fmt: skip
    """Compares outputs, buffers, and the gradients of all inputs and parameters of a float64 pair.

    inputs: float64 arrays in our layout. images: whether they change to channels first for torch; sequences
    do not. second: compare the gradients of those gradients too. Outputs may be any tree; integers in it must
    be equal. The buffers of both modules are those after the call.
    """
    ours, theirs = pair
    rng = np.random.default_rng(seed)
    name = type(ours).__name__
    first = channels_first if images else np.asarray
    last = channels_last if images else np.asarray

    # Torch: outputs, gradients along random cotangents, and the gradient of the slope of those.
    leaves = plan(ours)
    torch_only = {leaf.name for leaf in leaves if leaf.path is None}
    t_x = [torch.tensor(first(value), requires_grad=True) for value in inputs]
    t_params = {leaf: value for leaf, value in theirs.named_parameters() if leaf not in torch_only}
    t_outputs = jax.tree.leaves(theirs_call(theirs, *t_x))
    t_y = [value for value in t_outputs if value.is_floating_point()]
    t_c = [torch.tensor(rng.normal(size=value.shape), requires_grad=True) for value in t_y]
    t_all = [*t_x, *t_params.values()]
    t_gradients, t_second = (), ()
    options: dict[str, Any] = {"allow_unused": True, "materialize_grads": True}
    if t_all:
        t_gradients = torch.autograd.grad(t_y, t_all, t_c, create_graph=second, **options)
    t_directions = [torch.tensor(rng.normal(size=t.shape)) for t in t_gradients]
    if second:
        t_slope = sum((g * d).sum() for g, d in zip(t_gradients, t_directions, strict=True))
        assert isinstance(t_slope, torch.Tensor)
        t_second = torch.autograd.grad(t_slope, [*t_all, *t_c], **options)

    graph, *states = nnx.split(ours, nnx.Param, BUFFERS, ...)
    params, buffers, rest = map(nnx.to_pure_dict, states)

    def function(params: Any, x: Any) -> Any:
        module: Any = nnx.merge(graph, params, buffers, rest)
        outputs = jax.tree.leaves(ours_call(module, *x))
        floats = [y for y in outputs if jnp.issubdtype(y.dtype, jnp.floating)]
        return floats, (outputs, buffers_of(module))

    def gradients(params: Any, x: Any, c: Any) -> Any:
        _, pull, aux = jax.vjp(function, params, x, has_aux=True)
        return pull(c), aux

    def slope(params: Any, x: Any, c: Any, along: Any) -> Any:
        return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradients(params, x, c)[0], along)))

    def everything(params: Any, x: Any, c: Any, along: Any) -> Any:
        in_second = jax.grad(slope, argnums=(0, 1, 2))(params, x, c, along) if second else ((), (), ())
        return gradients(params, x, c), in_second

    with jax.enable_x64(True):
        x = [jnp.asarray(value) for value in inputs]
        c = [jnp.asarray(last(value.detach().numpy())) for value in t_c]
        along_x = [jnp.asarray(last(d.numpy())) for d in t_directions[: len(x)]]
        along_arrays = {leaf: d.numpy() for leaf, d in zip(t_params, t_directions[len(x) :], strict=True)}
        along_params = traverse_util.unflatten_dict(leaves_to_flax(leaves, along_arrays))
        compiled = jax.jit(everything, compiler_options=QUICK)
        (in_all, (outputs, after)), in_second = compiled(params, x, c, (along_params, along_x))
        nnx.update(ours, nnx.State(after))

    def in_torch(tree: Any) -> dict[str, np.ndarray]:
        flat = traverse_util.flatten_dict(tree)
        return leaves_to_torch(leaves, {path: np.asarray(value) for path, value in flat.items()})

    for value, expected in zip(outputs, t_outputs, strict=True):
        compare(name, "forward", first(np.asarray(value)), expected, FORWARD)
    for leaf, value in in_torch(after).items():
        compare(name, "buffer", value, theirs.state_dict()[leaf], FORWARD)
    for kind, (in_params, in_x, *in_c), expected in (
        ("gradient", in_all, t_gradients),
        ("second", in_second, t_second),
    ):
        if not expected:
            continue
        of_params = in_torch(in_params)
        arrays = [first(np.asarray(value)) for value in in_x]
        arrays += [of_params[leaf] for leaf in t_params]
        arrays += [first(np.asarray(value)) for group in in_c for value in group]
        for value, t_value in zip(arrays, expected, strict=True):
            compare(name, kind, value, t_value, GRADIENT)


def compare(name: str, kind: str, value: np.ndarray, expected: torch.Tensor, tolerance: float) -> None:
    """The difference is within the tolerance; integers are equal; shapes and dtypes too."""
    array = expected.detach().numpy()
    assert value.shape == array.shape, (name, kind, value.shape, array.shape)
    if not np.issubdtype(array.dtype, np.floating):
        np.testing.assert_array_equal(value, array)
        return
    assert value.dtype == array.dtype, (name, kind, value.dtype)
    error = difference(value, array)
    errors = largest.setdefault(name, {})
    errors[kind] = max(errors.get(kind, 0.0), error)
    assert error <= tolerance, f"{name}: {kind} differs by {error:.1e}"


def report() -> None:
    """Prints the largest errors."""
    for name, errors in sorted(largest.items()):
        print(f"{name:18}", *(f"{kind} {error:.1e}" for kind, error in errors.items()))


if os.environ.get("AGREEMENT_REPORT"):
    atexit.register(report)
