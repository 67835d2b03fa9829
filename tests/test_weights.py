"""to_torch and to_flax: inverse to each other, strict, and clear about what does not fit."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import torch_models
from convert import to_flax, to_torch
from convert.layouts import CONV2D, SAME, TRANSPOSED, Layout
from convert.twins import TWINS
from convert.weights import ConversionError, flat_variables
from flax_models import layers
from train.recipes import RECIPES
from train.state import build_model


def small(model: str):
    recipe = dataclasses.replace(RECIPES[model], options=dict(TWINS[model].tiny))
    return build_model(recipe), torch_models.MODELS[model](**TWINS[model].tiny)


def arrays_of(model: nnx.Module) -> dict:
    return {path: np.asarray(variable[...]) for path, variable in flat_variables(model).items()}


@pytest.mark.parametrize("model", TWINS)
def test_there_and_back_is_the_same_to_the_bit(model):
    ours, theirs = small(model)
    before = arrays_of(ours)
    to_torch(ours, theirs)
    for _, variable in flat_variables(ours).items():
        variable[...] = jnp.zeros_like(variable[...])
    to_flax(theirs, ours)
    after = arrays_of(ours)
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[path], after[path]) for path in before)
    assert all(after[path].dtype == before[path].dtype for path in before)


@pytest.mark.parametrize("layout", [SAME, TRANSPOSED, CONV2D, Layout((2, 0, 1)), Layout((1, 0), flip=(0,))])
def test_a_layout_knows_its_inverse(layout):
    shape = (2, 3, 4, 5)[: len(layout.axes or (0, 1))]
    array = np.random.default_rng(0).standard_normal(shape)
    there = layout.to_torch(array)
    assert there.shape == layout.torch_shape(shape)
    assert np.array_equal(layout.to_flax(there), array)


def test_a_state_dict_does_as_well_as_a_module():
    ours, theirs = small("dcgan")
    state = theirs.state_dict()
    to_flax(state, ours)
    kernel = np.asarray(ours.discriminator.conv[0].weight[...])
    assert np.array_equal(kernel.transpose(3, 2, 0, 1), state["discriminator.conv.0.weight"].numpy())


def test_all_faults_come_in_one_error_and_nothing_is_changed():
    ours, theirs = small("dcgan")
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
    exceptions = {"rename": {"body": "trunk", "out": "head"}, "layouts": {"gain": Layout(None, flip=(0,))}}
    ours, theirs = Ours(), Theirs()
    to_flax(theirs, ours, **exceptions)
    assert np.array_equal(np.asarray(ours.gain[...])[::-1], theirs.gain.detach().numpy())
    other = to_torch(ours, Theirs(), **exceptions)
    assert all(torch.equal(a, b) for a, b in zip(other.state_dict().values(), theirs.state_dict().values()))


def test_a_leaf_without_a_rule_and_a_useless_exception_are_named():
    with pytest.raises(ConversionError, match="no rule for gain of Ours"):
        to_torch(Ours(), Theirs())
    with pytest.raises(ConversionError, match="'nowhere' matches no leaf"):
        to_torch(Ours(), Theirs(), rename={"nowhere": "x"}, layouts={"gain": SAME})


def test_dtypes_are_those_of_the_receiver():
    ours, theirs = small("dcgan")
    to_torch(ours, theirs.double())
    assert theirs.generator.fc[0].weight.dtype == torch.float64
    to_flax(theirs.to(torch.bfloat16), ours)
    assert ours.generator.fc[0].weight.dtype == jnp.float32
