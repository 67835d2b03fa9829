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
from flax import nnx

from convert import optimizer_to_flax, optimizer_to_torch, to_flax, to_torch
from convert.rules import REFUSED, RULES, rule_for
from convert.weights import ConversionError, flat_variables, plan
from flax_models import layers
from tests.agreement import assert_pair_agrees
from tests.flax_models.layers.layer_pairs import build, layer_pair, torch_layer
from tests.pairs import Pair, make_pair

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
    "GRUCell": [arguments(2, 3), arguments(2, 3, bias=False)],
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


def by_hand(layer, array: np.ndarray) -> np.ndarray:
    """A leaf of ours in torch's layout, by its number of axes: what the converter must do."""
    if array.ndim == 4:  # (kH, kW, in, out) -> (out, in, kH, kW)
        return array.transpose(3, 2, 0, 1)
    if isinstance(layer, layers.LayerNorm):  # (H, W, C) -> (C, H, W)
        return np.moveaxis(array, -1, 0) if array.ndim == 3 else array
    return array if isinstance(layer, layers.Embedding) else array.T


@pytest.mark.parametrize("name", LAYERS)
def test_every_layer_of_ours_crosses(name):
    for args, kwargs in ARGUMENTS.get(name, [arguments()]):
        with jax.enable_x64(True):
            if not flat_variables(nnx.eval_shape(lambda: build(name, *args, **kwargs))):  # noqa: B023
                assert not torch_layer(name, *args, **kwargs).state_dict()
                continue
        ours, theirs = layer_pair(name, *args, **kwargs)
        leaves, state = flat_variables(ours), theirs.state_dict()
        assert {path[0] for path in leaves} == set(state)
        for (leaf,), variable in leaves.items():
            np.testing.assert_array_equal(by_hand(ours, np.asarray(variable[...])), state[leaf].numpy())
        with jax.enable_x64(True):
            blank = layer_pair(name, *args, **kwargs, seed=1).ours
            assert_same(to_flax(theirs, blank), ours)
            again = to_torch(blank, torch_layer(name, *args, **kwargs).double()).state_dict()
        assert all(torch.equal(again[leaf], value) for leaf, value in state.items())


def test_every_layer_of_ours_with_arguments_is_one():
    assert set(ARGUMENTS) <= set(LAYERS)


def assert_same(ours: nnx.Module, others: nnx.Module):
    """To the bit."""
    mine, their = flat_variables(ours), flat_variables(others)
    assert mine.keys() == their.keys()
    for path in mine:
        np.testing.assert_array_equal(np.asarray(mine[path][...]), np.asarray(their[path][...]), str(path))


class Stock(NamedTuple):
    """A layer of flax.nnx and its torch twin. inputs: shapes; images among them change to channels first."""

    ours: Callable[..., nnx.Module]
    theirs: Callable[[], torch.nn.Module]
    inputs: Any
    images: bool = False
    ours_call: Callable[..., Any] = lambda layer, *inputs: layer(*inputs)
    theirs_call: Callable[..., Any] = lambda layer, *inputs: layer(*inputs)


def _images(ours, theirs, *shape):
    return Stock(ours, theirs, [shape], images=True)


def _cell(ours, theirs):
    """One step from a state h: (2, 3), (2, 4)."""
    return Stock(
        lambda **o: ours(3, 4, **o), lambda: theirs(3, 4), [(2, 3), (2, 4)],
        ours_call=lambda cell, x, h: cell(h, x)[0],
    )  # fmt: skip


def _lstm_cell(ours):
    return Stock(
        lambda **o: ours(3, 4, **o), lambda: torch.nn.LSTMCell(3, 4), [(2, 3), (2, 4), (2, 4)],
        ours_call=lambda cell, x, h, c: cell((c, h), x)[0][::-1],
        theirs_call=lambda cell, x, h, c: cell(x, (h, c)),
    )  # fmt: skip


def _rnn(ours, theirs):
    """A sequence of 5 steps."""
    return Stock(
        lambda **o: nnx.RNN(ours(3, 4, **o)), lambda: theirs(3, 4, batch_first=True), [(2, 5, 3)],
        ours_call=lambda layer, x: layer(x, rngs=nnx.Rngs(0)),  # for the initial state, which is 0
        theirs_call=lambda layer, x: layer(x)[0],
    )  # fmt: skip


def _attention(bias):
    """With an idle dropout, without which Flax takes a softmax in float32 whatever the input."""
    return Stock(
        lambda **o: nnx.MultiHeadAttention(
            3, 12, use_bias=bias, dropout_rate=0.5, deterministic=True, decode=False, **o
        ),
        lambda: torch.nn.MultiheadAttention(12, 3, bias=bias, batch_first=True),
        [(2, 5, 12), (2, 7, 12), (2, 7, 12)],
        theirs_call=lambda layer, q, k, v: layer(q, k, v, need_weights=False)[0],
    )


def _transposed(transpose_kernel):
    """Torch's padding p is dilation * (k - 1) - p of Flax's, on the dilated input."""
    return _images(
        lambda **o: nnx.ConvTranspose(
            2, 3, (4, 3), strides=(2, 1), padding=((2, 2), (3, 3)), kernel_dilation=(1, 2),
            transpose_kernel=transpose_kernel, **o,
        ),
        lambda: torch.nn.ConvTranspose2d(2, 3, (4, 3), (2, 1), padding=1, dilation=(1, 2)),
        2, 4, 5, 2,
    )  # fmt: skip


ROWS = [[0, 4, 2], [2, 1, 3]]
STOCK = {
    "Linear": Stock(lambda **o: nnx.Linear(3, 4, **o), lambda: torch.nn.Linear(3, 4), [(2, 3)]),
    "Linear without bias": Stock(
        lambda **o: nnx.Linear(3, 4, use_bias=False, **o),
        lambda: torch.nn.Linear(3, 4, bias=False),
        [(2, 3)],
    ),
    "LinearGeneral": Stock(lambda **o: nnx.LinearGeneral(3, 4, **o), lambda: torch.nn.Linear(3, 4), [(2, 3)]),
    "Conv 1-d": _images(
        lambda **o: nnx.Conv(2, 3, (3,), strides=2, padding=1, **o),
        lambda: torch.nn.Conv1d(2, 3, 3, 2, 1),
        2, 7, 2,
    ),
    "Conv 2-d": _images(
        lambda **o: nnx.Conv(4, 6, (2, 3), padding=(1, 2), feature_group_count=2, **o),
        lambda: torch.nn.Conv2d(4, 6, (2, 3), padding=(1, 2), groups=2),
        2, 5, 6, 4,
    ),
    "Conv 3-d": _images(
        lambda **o: nnx.Conv(2, 3, (1, 2, 3), padding="VALID", **o),
        lambda: torch.nn.Conv3d(2, 3, (1, 2, 3)),
        2, 3, 4, 5, 2,
    ),
    "ConvTranspose 1-d": _images(
        lambda **o: nnx.ConvTranspose(2, 3, (4,), strides=2, padding="VALID", **o),
        lambda: torch.nn.ConvTranspose1d(2, 3, 4, 2),
        2, 5, 2,
    ),
    "ConvTranspose": _transposed(False),
    "ConvTranspose, transpose_kernel": _transposed(True),
    "BatchNorm": _images(
        lambda **o: nnx.BatchNorm(3, use_running_average=True, **o),
        lambda: torch.nn.BatchNorm2d(3),
        2, 4, 5, 3,
    ),
    "LayerNorm": Stock(
        lambda **o: nnx.LayerNorm(4, epsilon=1e-5, **o), lambda: torch.nn.LayerNorm(4), [(2, 3, 4)]
    ),
    "GroupNorm": _images(
        lambda **o: nnx.GroupNorm(4, 2, epsilon=1e-5, **o), lambda: torch.nn.GroupNorm(2, 4), 2, 3, 5, 4
    ),
    "InstanceNorm": _images(
        lambda **o: nnx.InstanceNorm(3, epsilon=1e-5, **o),
        lambda: torch.nn.InstanceNorm2d(3, affine=True),
        2, 4, 5, 3,
    ),
    "RMSNorm": Stock(
        lambda **o: nnx.RMSNorm(4, epsilon=1e-5, **o), lambda: torch.nn.RMSNorm(4, eps=1e-5), [(2, 3, 4)]
    ),
    "Embed": Stock(
        lambda **o: nnx.Embed(5, 3, **o), lambda: torch.nn.Embedding(5, 3), [],
        ours_call=lambda layer: layer(jnp.array(ROWS)),
        theirs_call=lambda layer: layer(torch.tensor(ROWS)),
    ),
    "PReLU": Stock(lambda rngs, **o: nnx.PReLU(**o), torch.nn.PReLU, [(2, 3)]),
    "MultiHeadAttention": _attention(True),
    "MultiHeadAttention without bias": _attention(False),
    "LSTMCell": _lstm_cell(nnx.LSTMCell),
    "OptimizedLSTMCell": _lstm_cell(nnx.OptimizedLSTMCell),
    "SimpleCell": _cell(lambda *a, **o: nnx.SimpleCell(*a, dtype=F64, **o), torch.nn.RNNCell),
    "GRUCell": _cell(nnx.GRUCell, torch.nn.GRUCell),
    "RNN of LSTMCell": _rnn(nnx.LSTMCell, torch.nn.LSTM),
    "RNN of GRUCell": _rnn(nnx.GRUCell, torch.nn.GRU),
}  # fmt: skip


# Flax's own layers mix dtypes.
standard_promotion = pytest.mark.standard_promotion("flax.nnx mixes dtypes in its own layers")


def stock_pair(name: str, seed: int = 0) -> Pair:
    """The Flax layer and its twin, in float64 and evaluation mode."""
    ours = lambda: STOCK[name].ours(param_dtype=F64, rngs=nnx.Rngs(0))  # noqa: E731
    return make_pair(ours, STOCK[name].theirs, training=False, seed=seed)


@pytest.mark.parametrize("name", STOCK)
@standard_promotion
def test_a_stock_layer_is_the_same_function_in_torch(name):
    stock, rng = STOCK[name], np.random.default_rng(7)
    assert_pair_agrees(
        stock_pair(name), *(rng.normal(size=shape) for shape in stock.inputs),
        ours_call=stock.ours_call, theirs_call=stock.theirs_call, images=stock.images,
    )  # fmt: skip


@pytest.mark.parametrize("name", STOCK)
def test_a_stock_layer_comes_back_to_the_bit(name):
    ours, theirs = stock_pair(name)
    other = stock_pair(name, seed=1).ours
    with jax.enable_x64(True):
        assert_same(to_flax(theirs, other), ours)
        again = to_torch(other, STOCK[name].theirs().double()).state_dict()
    assert all(torch.equal(again[leaf], value) for leaf, value in theirs.state_dict().items())


def test_every_rule_for_a_stock_layer_is_tested():
    tested = {type(stock_pair(name).ours) for name in STOCK}
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
    rule = rule_for(layer)
    assert rule is not None
    same = rule.leaves["bias"].layout
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
    assert theirs.num_batches_tracked is not None
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
    ours, theirs = stock_pair("MultiHeadAttention")
    with jax.enable_x64(True):
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
    with pytest.raises(ConversionError, match=r"only torch trains bias_hh .*flax_models.layers.GRU"):
        optimizer_to_torch(state, ours, theirs, torch.optim.Adam(theirs.parameters()))
