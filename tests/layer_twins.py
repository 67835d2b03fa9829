"""A layer of ours beside torch's: built alike, given the same random values, and compared.

Everything is float64. Set LAYER_TWINS_REPORT=1 to print the worst error of every layer at the end.
"""

import atexit
import inspect
import os

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

import torch_models.layers
from convert.certificate.tolerances import TOLERANCES, difference
from flax_models import layers

FORWARD, GRADIENT = TOLERANCES["float64"].forward, TOLERANCES["float64"].gradient
grid = settings(
    derandomize=True,
    deadline=None,
    max_examples=20,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# Tiny networks: the time goes into compiling, so XLA is asked not to optimise.
QUICK = {
    "xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False, "xla_cpu_parallel_codegen_split_count": 1,
}  # fmt: skip
seeds = st.integers(0, 2**32 - 1)
worst: dict[str, dict[str, float]] = {}


def to_torch(layer, value: np.ndarray) -> np.ndarray:
    """A leaf of ours in torch's layout, by the type of the layer."""
    if value.ndim == 4:
        return value.transpose(3, 2, 0, 1)
    if isinstance(layer, layers.LayerNorm) and value.ndim == 3:
        return value.transpose(2, 0, 1)
    if value.ndim == 2 and not isinstance(layer, (layers.Embedding, layers.LayerNorm)):
        return value.T
    return value


def from_torch(layer, value: np.ndarray) -> np.ndarray:
    """The inverse of to_torch."""
    if value.ndim == 4:
        return value.transpose(2, 3, 1, 0)
    if isinstance(layer, layers.LayerNorm) and value.ndim == 3:
        return value.transpose(1, 2, 0)
    return to_torch(layer, value)


def channels_first(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, -1, 1) if x.ndim > 2 else x


def channels_last(x: np.ndarray) -> np.ndarray:
    return np.moveaxis(x, 1, -1) if x.ndim > 2 else x


def build(name: str, *args, **kwargs):
    """Our layer, of float64 where it has parameters. Call it under jax.enable_x64."""
    layer = getattr(layers, name)
    accepted = inspect.signature(layer.__init__).parameters
    if "param_dtype" in accepted:
        kwargs.setdefault("param_dtype", jnp.float64)
    if "rngs" in accepted:
        kwargs.setdefault("rngs", nnx.Rngs(0))
    return layer(*args, **kwargs)


def torch_layer(name: str, *args, **kwargs) -> torch.nn.Module:
    layer = getattr(torch.nn, name, None) or getattr(torch_models.layers, name)
    return layer(*args, **kwargs)


def twins(name: str, *args, seed: int = 0, **kwargs):
    """(ours, torch's), every leaf random and the same in both."""
    rng = np.random.default_rng(seed)
    theirs = torch_layer(name, *args, **kwargs).double()
    for leaf, value in theirs.state_dict().items():
        if value.is_floating_point():
            positive = leaf.endswith("running_var")
            drawn = rng.uniform(0.5, 2, value.shape) if positive else rng.normal(size=value.shape)
            value.copy_(torch.from_numpy(drawn))
    with jax.enable_x64(True):
        ours = nnx.eval_shape(lambda: build(name, *args, **kwargs))  # no time for values that go
        leaves = variables(ours)
        assert set(leaves) == set(theirs.state_dict()), (set(leaves), set(theirs.state_dict()))
        for leaf, variable in leaves.items():
            value = from_torch(ours, theirs.state_dict()[leaf].numpy())
            assert variable.shape == value.shape, (leaf, variable.shape, value.shape)
            # A copy: jax may alias torch's memory, which torch's buffers change in place.
            variable.set_value(jnp.array(value, variable.dtype, copy=True))
    return ours, theirs


def variables(layer, kind=(nnx.Param, nnx.BatchStat)) -> dict[str, nnx.Variable]:
    return {name: value for name, value in vars(layer).items() if isinstance(value, kind)}


def call(layer, *inputs):
    return layer(*inputs)


def assert_twins_agree(
    ours, theirs, *inputs, ours_call=call, theirs_call=call, pictures=True, second=False, seed=0
):  # fmt: skip
    """Compares outputs, buffers, and the gradients of all inputs and parameters; with `second` also
    the gradients of those gradients.

    inputs are float64 arrays in our layout. Pictures change to channels first for torch; sequences
    do not. Outputs may be any tree; integers in it must be equal.
    """
    rng = np.random.default_rng(seed)
    name = type(ours).__name__
    first = channels_first if pictures else np.asarray
    last = channels_last if pictures else np.asarray

    # Torch: outputs, gradients along random cotangents, and the gradient of the slope of those.
    t_x = [torch.tensor(np.ascontiguousarray(first(value)), requires_grad=True) for value in inputs]
    t_params = dict(theirs.named_parameters())
    t_outputs = jax.tree.leaves(theirs_call(theirs, *t_x))
    t_y = [value for value in t_outputs if value.is_floating_point()]
    t_c = [torch.tensor(rng.normal(size=value.shape), requires_grad=True) for value in t_y]
    t_gradients, t_second = (), ()
    options = {"allow_unused": True, "materialize_grads": True}
    if t_x or t_params:
        t_all = [*t_x, *t_params.values()]
        t_gradients = torch.autograd.grad(t_y, t_all, t_c, create_graph=second, **options)
    t_directions = [torch.tensor(rng.normal(size=t.shape)) for t in t_gradients]
    if second:
        t_slope = sum((g * d).sum() for g, d in zip(t_gradients, t_directions, strict=True))
        t_second = torch.autograd.grad(t_slope, [*t_all, *t_c], **options)

    def function(params, x):
        layer = nnx.clone(ours)
        for leaf, value in params.items():
            getattr(layer, leaf).set_value(value)  # [...] = would scatter: XLA:CPU aborts on its gradient
        outputs = jax.tree.leaves(ours_call(layer, *x))
        buffers = {leaf: variable.get_value() for leaf, variable in variables(layer, nnx.BatchStat).items()}
        return [y for y in outputs if jnp.issubdtype(y.dtype, jnp.floating)], (outputs, buffers)

    def gradients(params, x, c):
        _, pull, aux = jax.vjp(function, params, x, has_aux=True)
        return pull(c), aux

    def slope(params, x, c, along):
        return sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradients(params, x, c)[0], along)))

    def everything(params, x, c, along):
        in_second = jax.grad(slope, argnums=(0, 1, 2))(params, x, c, along) if second else ((), ())
        return gradients(params, x, c), in_second

    with jax.enable_x64(True):
        params = {leaf: variables(ours, nnx.Param)[leaf].get_value() for leaf in t_params}
        x = [jnp.asarray(value) for value in inputs]
        c = [jnp.asarray(last(value.detach().numpy())) for value in t_c]
        along_x = [jnp.asarray(last(d.numpy())) for d in t_directions[: len(x)]]
        along_params = {
            leaf: jnp.asarray(from_torch(ours, d.numpy()))
            for leaf, d in zip(params, t_directions[len(x) :], strict=True)
        }
        compiled = jax.jit(everything, compiler_options=QUICK)
        (in_all, (outputs, buffers)), in_second = compiled(params, x, c, (along_params, along_x))
        for leaf, value in buffers.items():
            getattr(ours, leaf).set_value(value)

    for value, expected in zip(outputs, t_outputs, strict=True):
        compare(name, "forward", first(np.asarray(value)), expected, FORWARD)
    for leaf, value in buffers.items():
        compare(name, "buffer", to_torch(ours, np.asarray(value)), theirs.state_dict()[leaf], FORWARD)
    for kind, (in_params, in_x, *in_c), expected in (
        ("gradient", in_all, t_gradients),
        ("second", in_second, t_second),
    ):
        values = [first(np.asarray(value)) for value in in_x]
        values += [to_torch(ours, np.asarray(in_params[leaf])) for leaf in (params if in_params else ())]
        values += [first(np.asarray(value)) for group in in_c for value in group]
        for value, t_value in zip(values, expected, strict=True):
            compare(name, kind, value, t_value, GRADIENT)


def compare(name: str, kind: str, value: np.ndarray, expected: torch.Tensor, tolerance: float):
    """max|a - b| / max(1, max|b|) within the tolerance; integers exactly, shapes always."""
    expected = expected.detach().numpy()
    assert value.shape == expected.shape, (name, kind, value.shape, expected.shape)
    if not np.issubdtype(expected.dtype, np.floating):
        np.testing.assert_array_equal(value, expected)
        return
    assert value.dtype == expected.dtype, (name, kind, value.dtype)
    error = difference(value, expected)
    errors = worst.setdefault(name, {})
    errors[kind] = max(errors.get(kind, 0.0), error)
    assert error <= tolerance, f"{name}: {kind} differs by {error:.1e}"


def report():
    for name, errors in sorted(worst.items()):
        print(f"{name:18}", *(f"{kind} {error:.1e}" for kind, error in errors.items()))


if os.environ.get("LAYER_TWINS_REPORT"):
    atexit.register(report)
