"""to_torch and to_flax: inverse to each other, strict, and clear about what does not fit."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from convert import to_flax, to_torch
from convert.layouts import (
    CHANNELS_FIRST,
    CONV,
    FROM_HEADS,
    HEADS,
    SAME,
    SCALAR,
    TO_HEADS,
    TRANSPOSED,
    Layout,
)
from convert.weights import ConversionError, flat_variables, leaves_to_flax, leaves_to_torch, plan
from flax_models import layers
from tests.pairs import Pair, model_pair


def arrays_of(model: nnx.Module) -> dict:
    return {path: np.asarray(variable[...]) for path, variable in flat_variables(model).items()}


@pytest.fixture
def dcgan() -> Pair:
    return model_pair("dcgan", dtype="float32")


@pytest.mark.parametrize(
    ("layout", "shape", "torch_shape"),
    [
        (SAME, (), ()),
        (SAME, (2, 3), (2, 3)),
        (SCALAR, (), (1,)),
        (TRANSPOSED, (2, 3), (3, 2)),
        (CONV, (2, 3, 4), (4, 3, 2)),
        (CONV, (2, 3, 4, 5), (5, 4, 2, 3)),
        (CHANNELS_FIRST, (2, 3, 4), (4, 2, 3)),
        (TO_HEADS, (5, 2, 3), (6, 5)),
        (HEADS, (2, 3), (6,)),
        (FROM_HEADS, (2, 3, 5), (5, 6)),
        (Layout((2, 0, 1)), (2, 3, 4), (4, 2, 3)),
        (Layout((1, 0), flip=(0,)), (2, 3), (3, 2)),
    ],
)
def test_a_layout_knows_its_inverse(layout, shape, torch_shape):
    array = np.random.default_rng(0).standard_normal(shape) + np.zeros(shape)
    there = layout.to_torch(array)
    assert layout.fits(len(shape))
    assert there.shape == layout.torch_shape(shape) == torch_shape
    assert np.array_equal(layout.to_flax(there, shape), array)
    if len(torch_shape) == len(shape):  # nothing merged: the shape need not be given
        assert np.array_equal(layout.to_flax(there), array)


def test_a_layout_for_other_ranks_does_not_fit():
    assert not CONV.fits(1) and not TRANSPOSED.fits(3)
    assert not Layout((0, 0)).fits(2) and not Layout((0, 2)).fits(2) and not Layout(flip=(1,)).fits(1)


def test_a_state_dict_does_as_well_as_a_module(dcgan):
    ours = model_pair("dcgan", dtype="float32", seed=1).ours
    state = dcgan.theirs.state_dict()
    to_flax(state, ours)
    kernel = np.asarray(ours.discriminator.conv[0].weight[...])
    assert np.array_equal(kernel.transpose(3, 2, 0, 1), state["discriminator.conv.0.weight"].numpy())


def test_all_faults_come_in_one_error_and_nothing_is_changed(dcgan):
    ours, theirs = dcgan.ours, model_pair("dcgan", dtype="float32", seed=1).theirs
    before = arrays_of(ours)
    state = dict(theirs.state_dict())
    state["generator.fc.0.wieght"] = state.pop("generator.fc.0.weight")
    state["generator.fc.3.bias"] = torch.zeros(7)
    del state["discriminator.fc.3.bias"]
    with pytest.raises(ConversionError) as caught:
        to_flax(state, ours)
    message = str(caught.value)
    assert "4 leaves" in message
    assert "missing generator.fc.0.weight" in message and "near: generator.fc.0.wieght" in message
    assert "missing discriminator.fc.3.bias" in message
    assert "unexpected generator.fc.0.wieght" in message
    assert "misshapen generator.fc.3.bias: (7,)" in message
    after = arrays_of(ours)
    assert all(np.array_equal(before[path], after[path]) for path in before)


class Theirs(torch.nn.Module):
    """A foreign model: other names, and a flatten in NHWC order."""

    def __init__(self):
        super().__init__()
        self.trunk = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.BatchNorm2d(2))
        self.head = torch.nn.Linear(2, 5)
        self.gain = torch.nn.Parameter(torch.randn(5))


class Ours(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.body = layers.Sequential(layers.Conv2d(1, 2, 3, rngs=rngs), layers.BatchNorm2d(2))
        self.out = layers.Linear(2, 5, rngs=rngs)
        self.gain = nnx.Param(jnp.ones(5))


def test_foreign_models_with_exceptions_by_name():
    exceptions = {"rename": {"body": "trunk", "out": "head"}, "layouts": {"gain": Layout(flip=(0,))}}
    ours, theirs = Ours(), Theirs()
    to_flax(theirs, ours, **exceptions)
    assert np.array_equal(np.asarray(ours.gain[...])[::-1], theirs.gain.detach().numpy())
    other = to_torch(ours, Theirs(), **exceptions)
    assert all(
        torch.equal(a, b)
        for a, b in zip(other.state_dict().values(), theirs.state_dict().values(), strict=True)
    )


def test_a_leaf_without_a_rule_and_a_useless_exception_are_named():
    with pytest.raises(ConversionError, match="no rule for gain of Ours"):
        to_torch(Ours(), Theirs())
    with pytest.raises(ConversionError, match="'nowhere' matches no leaf"):
        to_torch(Ours(), Theirs(), rename={"nowhere": "x"}, layouts={"gain": SAME})


def test_a_layout_that_does_not_fit_is_named():
    with pytest.raises(ConversionError, match=r"layout of gain does not fit its shape \(5,\)"):
        to_torch(Ours(), Theirs(), layouts={"gain": TRANSPOSED})


def test_two_leaves_cannot_be_one():
    rename = {"out.bias": "gain"}
    with pytest.raises(ConversionError, match="2 leaves would be gain"):
        to_torch(Ours(), Theirs(), rename=rename, layouts={"gain": SAME})


class Attention(torch.nn.Module):
    """Foreign: three projections where torch.nn's own has one."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v, self.out_proj = (torch.nn.Linear(6, 6) for _ in range(4))


def test_a_part_with_a_name_of_its_own_is_a_tensor():
    ours = nnx.MultiHeadAttention(2, 6, rngs=nnx.Rngs(0))
    rename = {f"{part}.{leaf}": f"{part[0]}.{torch_leaf}" for part in ("query", "key", "value")
              for leaf, torch_leaf in (("kernel", "weight"), ("bias", "bias"))}  # fmt: skip
    theirs: Any = to_torch(ours, Attention(), rename=rename)
    kernel = np.asarray(ours.key.kernel[...])
    assert np.array_equal(theirs.k.weight.detach().numpy(), kernel.reshape(6, 6).T)
    to_flax(theirs, ours, rename=rename)
    assert np.array_equal(np.asarray(ours.key.kernel[...]), kernel)


def test_half_a_tensor_is_refused():
    ours = nnx.MultiHeadAttention(2, 6, rngs=nnx.Rngs(0))
    values = {path: array for path, array in arrays_of(ours).items() if path != ("key", "kernel")}
    with pytest.raises(ConversionError, match="in_proj_weight has values for only some of its parts"):
        leaves_to_torch(plan(ours), values)


def test_what_came_from_torch_stays_when_torch_trains_on():
    ours, theirs = layers.Linear(16, 16, rngs=nnx.Rngs(0)), torch.nn.Linear(16, 16)
    to_flax(theirs, ours)
    flat = leaves_to_flax(plan(ours), {name: t.numpy() for name, t in theirs.state_dict().items()})
    before = arrays_of(ours)
    with torch.no_grad():
        theirs.weight.fill_(7)
        theirs.bias.fill_(7)
    for path, array in arrays_of(ours).items():
        assert np.array_equal(array, before[path]) and np.array_equal(flat[path], before[path])


def test_dtypes_are_those_of_the_receiver(dcgan):
    ours, theirs = dcgan
    to_torch(ours, theirs.double())
    assert theirs.generator.fc[0].weight.dtype == torch.float64
    to_flax(theirs.to(torch.bfloat16), ours)
    assert ours.generator.fc[0].weight.dtype == jnp.float32
