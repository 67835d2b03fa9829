"""Every rule of the converter: the layer and its torch twin are one function, there and back."""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch
from flax import nnx, traverse_util

from convert import optimizer_to_flax, optimizer_to_torch, to_flax, to_torch
from convert.certificate.tolerances import TOLERANCES, difference
from convert.rules import REFUSED, RULES, rule_for
from convert.weights import ConversionError, flat_variables, leaves_to_torch, plan
from flax_models import layers
from tests.layer_twins import QUICK, build, channels_first, torch_layer, twins

F64 = jnp.float64
LAYERS = [name for name in layers.__all__ if isinstance(getattr(layers, name), type)]


def arguments(*args, **kwargs):
    return args, kwargs


# The arguments to try, where a layer needs some or its leaves depend on them.
ARGUMENTS = {
    "AdaptiveAvgPool2d": [arguments(1)],
    "AdaptiveMaxPool2d": [arguments(1)],
    "AvgPool2d": [arguments(2)],
    "BatchNorm1d": [arguments(3), arguments(3, affine=False), arguments(3, track_running_stats=False)],
    "BatchNorm2d": [arguments(3)],
    "Conv2d": [arguments(4, 6, (2, 3), groups=2), arguments(2, 3, 1, bias=False)],
    "ConvTranspose2d": [arguments(4, 6, (2, 3), groups=2), arguments(2, 3, 1, bias=False)],
    "Embedding": [arguments(5, 3)],
    "GRU": [arguments(2, 3), arguments(2, 3, 2, bidirectional=True)],
    "GroupNorm": [arguments(2, 4)],
    "InstanceNorm2d": [arguments(3), arguments(3, affine=True, track_running_stats=True)],
    "LPPool2d": [arguments(2, 2)],
    "LSTM": [arguments(2, 3), arguments(2, 3, 2, dropout=0.5), arguments(2, 3, 2, bias=False)],
    "LogSoftmax": [arguments(-1)],
    "LayerNorm": [arguments(4), arguments((2, 3)), arguments((2, 3, 4)), arguments((2, 3, 4), bias=False)],
    "Linear": [arguments(3, 4), arguments(3, 4, bias=False)],
    "MaxPool2d": [arguments(2)],
    "Maxout": [arguments(3, 4, 2)],
    "PReLU": [arguments(), arguments(3)],
    "RNN": [arguments(2, 3, 11), arguments(2, 3, 2, bidirectional=True)],
    "ReflectionPad2d": [arguments(1)],
    "Softmax": [arguments(-1)],
    "Unflatten": [arguments(1, (2, 3, 4))],
    "Upsample": [arguments(scale_factor=2)],
    "ZeroPad2d": [arguments(1)],
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_of_ours_crosses(name):
    for args, kwargs in ARGUMENTS.get(name, [arguments()]):
        with jax.enable_x64(True):
            if not flat_variables(nnx.eval_shape(lambda: build(name, *args, **kwargs))):  # noqa: B023
                continue
            ours, theirs = twins(name, *args, **kwargs)  # the same numbers, placed without the converter
            other = to_torch(ours, torch_layer(name, *args, **kwargs).double()).state_dict()
            assert all(torch.equal(other[leaf], value) for leaf, value in theirs.state_dict().items())
            blank, _ = twins(name, *args, **kwargs, seed=1)
            assert_same(to_flax(theirs, blank), ours)


def test_every_layer_of_ours_with_arguments_is_one():
    assert set(ARGUMENTS) <= set(LAYERS)


def assert_same(ours: nnx.Module, others: nnx.Module):
    """To the bit."""
    mine, their = flat_variables(ours), flat_variables(others)
    assert mine.keys() == their.keys()
    for path in mine:
        np.testing.assert_array_equal(np.asarray(mine[path][...]), np.asarray(their[path][...]), str(path))


class Pair(NamedTuple):
    """A layer of flax.nnx and its torch twin. inputs: shapes; pictures of them change to channels first."""

    ours: Callable[..., nnx.Module]
    theirs: Callable[[], torch.nn.Module]
    inputs: Any
    pictures: bool = False
    ours_call: Callable[..., Any] = lambda layer, *inputs: layer(*inputs)
    theirs_call: Callable[..., Any] = lambda layer, *inputs: layer(*inputs)


def _picture(ours, theirs, *shape):
    return Pair(ours, theirs, [shape], pictures=True)


def _cell(ours, theirs):
    """One step from a state h: (2, 3), (2, 4)."""
    return Pair(
        lambda **o: ours(3, 4, **o), lambda: theirs(3, 4), [(2, 3), (2, 4)],
        ours_call=lambda cell, x, h: cell(h, x)[0],
    )  # fmt: skip


def _lstm_cell(ours):
    return Pair(
        lambda **o: ours(3, 4, **o), lambda: torch.nn.LSTMCell(3, 4), [(2, 3), (2, 4), (2, 4)],
        ours_call=lambda cell, x, h, c: cell((c, h), x)[0][::-1],
        theirs_call=lambda cell, x, h, c: cell(x, (h, c)),
    )  # fmt: skip


def _rnn(ours, theirs):
    """A sequence of 5 steps."""
    return Pair(
        lambda **o: nnx.RNN(ours(3, 4, **o)), lambda: theirs(3, 4, batch_first=True), [(2, 5, 3)],
        ours_call=lambda layer, x: layer(x, rngs=nnx.Rngs(0)),  # for the initial state, which is 0
        theirs_call=lambda layer, x: layer(x)[0],
    )  # fmt: skip


def _attention(bias):
    """With an idle dropout, without which Flax takes a softmax in float32 whatever the input."""
    return Pair(
        lambda **o: nnx.MultiHeadAttention(
            3, 12, use_bias=bias, dropout_rate=0.5, deterministic=True, decode=False, **o
        ),
        lambda: torch.nn.MultiheadAttention(12, 3, bias=bias, batch_first=True),
        [(2, 5, 12), (2, 7, 12), (2, 7, 12)],
        theirs_call=lambda layer, q, k, v: layer(q, k, v, need_weights=False)[0],
    )


def _transposed(transpose_kernel):
    """Torch's padding p is dilation * (k - 1) - p of Flax's, on the dilated input."""
    return _picture(
        lambda **o: nnx.ConvTranspose(
            2, 3, (4, 3), strides=(2, 1), padding=((2, 2), (3, 3)), kernel_dilation=(1, 2),
            transpose_kernel=transpose_kernel, **o,
        ),
        lambda: torch.nn.ConvTranspose2d(2, 3, (4, 3), (2, 1), padding=1, dilation=(1, 2)),
        2, 4, 5, 2,
    )  # fmt: skip


STOCK = {
    "Linear": Pair(lambda **o: nnx.Linear(3, 4, **o), lambda: torch.nn.Linear(3, 4), [(2, 3)]),
    "Linear without bias": Pair(
        lambda **o: nnx.Linear(3, 4, use_bias=False, **o),
        lambda: torch.nn.Linear(3, 4, bias=False),
        [(2, 3)],
    ),
    "LinearGeneral": Pair(lambda **o: nnx.LinearGeneral(3, 4, **o), lambda: torch.nn.Linear(3, 4), [(2, 3)]),
    "Conv 1-d": _picture(
        lambda **o: nnx.Conv(2, 3, (3,), strides=2, padding=1, **o),
        lambda: torch.nn.Conv1d(2, 3, 3, 2, 1),
        2, 7, 2,
    ),
    "Conv 2-d": _picture(
        lambda **o: nnx.Conv(4, 6, (2, 3), padding=(1, 2), feature_group_count=2, **o),
        lambda: torch.nn.Conv2d(4, 6, (2, 3), padding=(1, 2), groups=2),
        2, 5, 6, 4,
    ),
    "Conv 3-d": _picture(
        lambda **o: nnx.Conv(2, 3, (1, 2, 3), padding="VALID", **o),
        lambda: torch.nn.Conv3d(2, 3, (1, 2, 3)),
        2, 3, 4, 5, 2,
    ),
    "ConvTranspose 1-d": _picture(
        lambda **o: nnx.ConvTranspose(2, 3, (4,), strides=2, padding="VALID", **o),
        lambda: torch.nn.ConvTranspose1d(2, 3, 4, 2),
        2, 5, 2,
    ),
    "ConvTranspose": _transposed(False),
    "ConvTranspose, transpose_kernel": _transposed(True),
    "BatchNorm": _picture(
        lambda **o: nnx.BatchNorm(3, use_running_average=True, **o),
        lambda: torch.nn.BatchNorm2d(3),
        2, 4, 5, 3,
    ),
    "LayerNorm": Pair(
        lambda **o: nnx.LayerNorm(4, epsilon=1e-5, **o), lambda: torch.nn.LayerNorm(4), [(2, 3, 4)]
    ),
    "GroupNorm": _picture(
        lambda **o: nnx.GroupNorm(4, 2, epsilon=1e-5, **o), lambda: torch.nn.GroupNorm(2, 4), 2, 3, 5, 4
    ),
    "InstanceNorm": _picture(
        lambda **o: nnx.InstanceNorm(3, epsilon=1e-5, **o),
        lambda: torch.nn.InstanceNorm2d(3, affine=True),
        2, 4, 5, 3,
    ),
    "RMSNorm": Pair(
        lambda **o: nnx.RMSNorm(4, epsilon=1e-5, **o), lambda: torch.nn.RMSNorm(4, eps=1e-5), [(2, 3, 4)]
    ),
    "Embed": Pair(
        lambda **o: nnx.Embed(5, 3, **o), lambda: torch.nn.Embedding(5, 3), [np.array([[0, 4, 2], [2, 1, 3]])]
    ),
    "PReLU": Pair(lambda rngs, **o: nnx.PReLU(**o), torch.nn.PReLU, [(2, 3)]),
    "MultiHeadAttention": _attention(True),
    "MultiHeadAttention without bias": _attention(False),
    "LSTMCell": _lstm_cell(nnx.LSTMCell),
    "OptimizedLSTMCell": _lstm_cell(nnx.OptimizedLSTMCell),
    "SimpleCell": _cell(lambda *a, **o: nnx.SimpleCell(*a, dtype=F64, **o), torch.nn.RNNCell),
    "GRUCell": _cell(nnx.GRUCell, torch.nn.GRUCell),
    "RNN of LSTMCell": _rnn(nnx.LSTMCell, torch.nn.LSTM),
    "RNN of GRUCell": _rnn(nnx.GRUCell, torch.nn.GRU),
}  # fmt: skip


def stock(name: str, seed: int = 0) -> nnx.Module:
    """The Flax layer with random float64 leaves. Call it under jax.enable_x64."""
    layer = nnx.eval_shape(lambda: STOCK[name].ours(param_dtype=F64, rngs=nnx.Rngs(0)))
    rng = np.random.default_rng(seed)
    for path, variable in flat_variables(layer).items():
        drawn = rng.uniform(0.5, 2, variable.shape) if path[-1] == "var" else rng.normal(size=variable.shape)
        variable.set_value(jnp.asarray(drawn))
    return layer


def drawn_inputs(name: str) -> list[np.ndarray]:
    rng = np.random.default_rng(7)
    return [x if isinstance(x, np.ndarray) else rng.normal(size=x) for x in STOCK[name].inputs]


@pytest.mark.parametrize("name", STOCK)
def test_a_stock_layer_is_the_same_function_in_torch(name):
    pair, inputs = STOCK[name], drawn_inputs(name)
    # Contiguous: torch's group norm crashes on channels-last input that needs no gradient.
    first = (lambda x: np.ascontiguousarray(channels_first(x))) if pair.pictures else np.asarray
    with jax.enable_x64(True):
        ours = stock(name)
        theirs = to_torch(ours, pair.theirs().double()).eval()
        expected = pair.theirs_call(theirs, *(torch.tensor(first(x)) for x in inputs))
        expected = jax.tree.leaves(expected)
        rng = np.random.default_rng(8)
        cotangents = [rng.normal(size=y.shape) for y in expected]
        graph, *state = nnx.split(ours, nnx.Param, ...)
        params, rest = map(nnx.to_pure_dict, state)

        def total(params, cotangents):
            outputs = jax.tree.leaves(
                pair.ours_call(nnx.merge(graph, params, rest), *map(jnp.asarray, inputs))
            )
            return sum(jnp.vdot(y, w) for y, w in zip(outputs, cotangents, strict=True)), outputs

        ours_w = [np.moveaxis(w, 1, -1) if pair.pictures else w for w in cotangents]
        gradients, outputs = jax.jit(jax.grad(total, has_aux=True), compiler_options=QUICK)(params, ours_w)
        flat = traverse_util.flatten_dict(gradients)
        gradients = leaves_to_torch(plan(ours), {path: np.asarray(g) for path, g in flat.items()})

    for y, t in zip(outputs, expected, strict=True):
        assert difference(first(np.asarray(y)), t.detach().numpy()) <= TOLERANCES["float64"].forward
    sum((y * torch.tensor(w)).sum() for y, w in zip(expected, cotangents, strict=True)).backward()
    constants = {leaf.name for leaf in plan(ours) if leaf.path is None}
    for leaf, parameter in theirs.named_parameters():
        assert (leaf in gradients) != (leaf in constants)
        if leaf in gradients:
            error = difference(gradients[leaf], parameter.grad.numpy())
            assert error <= TOLERANCES["float64"].gradient, leaf


@pytest.mark.parametrize("name", STOCK)
def test_a_stock_layer_comes_back_to_the_bit(name):
    with jax.enable_x64(True):
        ours = stock(name)
        theirs = to_torch(ours, STOCK[name].theirs().double())
        assert_same(to_flax(theirs, stock(name, seed=1)), ours)
        again = to_torch(ours, STOCK[name].theirs().double()).state_dict()
    assert all(torch.equal(again[leaf], value) for leaf, value in theirs.state_dict().items())


def test_every_rule_for_a_stock_layer_is_tested():
    with jax.enable_x64(True):
        tested = {type(stock(name)) for name in STOCK}
    assert tested == {cls for cls in RULES if not cls.__module__.startswith("flax_models")}
    assert {type(refusal(name)) for name in REFUSALS} == set(REFUSED)


REFUSALS = {
    "a mask": lambda r: nnx.Conv(1, 1, (1,), mask=jnp.ones((1, 1, 1)), rngs=r),
    "a mask of the transposed": lambda r: nnx.ConvTranspose(1, 1, (1,), mask=jnp.ones((1, 1, 1)), rngs=r),
    "several axes in": lambda r: nnx.LinearGeneral((2, 3), 4, axis=(-2, -1), rngs=r),
    "another axis": lambda r: nnx.LinearGeneral(2, 3, axis=-2, rngs=r),
    "a norm within": lambda r: nnx.MultiHeadAttention(2, 4, normalize_qk=True, rngs=r),
    "other sizes": lambda r: nnx.MultiHeadAttention(2, 4, in_kv_features=6, rngs=r),
    "fewer heads": lambda r: nnx.MultiHeadAttention(2, 4, num_kv_heads=1, rngs=r),
    "a residual": lambda r: nnx.SimpleCell(2, 2, residual=True, rngs=r),
    "backwards": lambda r: nnx.RNN(nnx.GRUCell(2, 2, rngs=r), reverse=True),
}


@cache
def refusal(name: str) -> nnx.Module:
    return REFUSALS[name](nnx.Rngs(0))


@pytest.mark.parametrize("name", REFUSALS)
def test_what_torch_has_not_is_refused_with_the_reason(name):
    layer = refusal(name)
    with pytest.raises(ConversionError, match="torch") as caught:
        plan(layer)
    assert REFUSED[type(layer)][1] in str(caught.value)


def test_a_refused_leaf_crosses_with_a_layout_of_its_own():
    layer = refusal("another axis")
    same = rule_for(layer).leaves["bias"].layout
    assert len(plan(layer, layouts={"kernel": same, "bias": same})) == 2


@pytest.mark.parametrize(
    ("ours", "theirs", "bias", "instead"),
    [
        (nnx.LSTMCell, torch.nn.LSTMCell, "bias_ih", "LSTM"),
        (nnx.OptimizedLSTMCell, torch.nn.LSTMCell, "bias_ih", "LSTM"),
        (nnx.GRUCell, torch.nn.GRUCell, "bias_hh", "GRU"),
        (nnx.SimpleCell, torch.nn.RNNCell, "bias_hh", "RNN"),
    ],
)
def test_a_second_bias_is_not_lost(ours, theirs, bias, instead):
    cell, state = nnx.eval_shape(lambda: ours(3, 4, rngs=nnx.Rngs(0))), theirs(3, 4).state_dict()
    with pytest.raises(ConversionError, match=f"{bias} is not 0.*flax_models.layers.{instead}$"):
        to_flax(state, cell)
    weight = state.pop("weight_hh")
    with pytest.raises(ConversionError, match=f"2 leaves do not fit.*missing weight_hh.*{bias} is not 0"):
        to_flax(state, cell)
    to_flax({**state, "weight_hh": weight, bias: torch.zeros_like(state[bias])}, cell)


def test_the_count_of_batches_is_dropped_and_begins_at_0():
    ours, theirs = nnx.BatchNorm(3, rngs=nnx.Rngs(0)), torch.nn.BatchNorm1d(3)
    theirs.num_batches_tracked.fill_(5)
    to_flax(theirs, ours)
    assert to_torch(ours, theirs).num_batches_tracked == 0
    state = theirs.state_dict()
    del state["num_batches_tracked"]
    with pytest.raises(ConversionError, match=r"1 leaves do not fit.*missing num_batches_tracked"):
        to_flax(state, ours)
    nested = to_torch(nnx.Dict(norm=ours), torch.nn.ModuleDict({"bn": theirs}), rename={"norm": "bn"})
    assert set(nested.state_dict()) == {f"bn.{leaf}" for leaf in theirs.state_dict()}


def test_moments_cross_by_the_same_rules():
    theirs = torch.nn.MultiheadAttention(12, 3).double()
    with jax.enable_x64(True):
        ours = stock("MultiHeadAttention")
        params = nnx.to_pure_dict(nnx.state(ours, nnx.Param))
        state = optax.ScaleByAdamState(jnp.asarray(3), params, jax.tree.map(lambda p: p + 1, params))
        optimizer = optimizer_to_torch(state, ours, theirs, torch.optim.Adam(theirs.parameters()))
        assert optimizer.state[theirs.in_proj_weight]["exp_avg"].shape == (36, 12)
        begun = jax.tree.map(jnp.zeros_like, state)
        jax.tree.map(np.testing.assert_array_equal, optimizer_to_flax(optimizer, theirs, begun, ours), state)


def test_a_run_does_not_go_on_where_torch_alone_trains_a_bias():
    ours, theirs = nnx.GRUCell(3, 4, rngs=nnx.Rngs(0)), torch.nn.GRUCell(3, 4)
    params = nnx.to_pure_dict(nnx.state(ours, nnx.Param))
    state = optax.ScaleByAdamState(jnp.asarray(3), params, params)
    with pytest.raises(ConversionError, match=r"torch alone trains bias_hh .*flax_models.layers.GRU"):
        optimizer_to_torch(state, ours, theirs, torch.optim.Adam(theirs.parameters()))
