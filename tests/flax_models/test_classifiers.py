"""Regression, perceptrons and convolutional classifiers: their blocks, first weights and sizes."""

import importlib
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import flax_models
import torch_models
from convert import to_torch
from convert.certificate.calls import compare_call
from convert.certificate.recording import record_flax_outputs
from convert.certificate.tolerances import TOLERANCES
from convert.twins import TWINS
from tests.agreement import assert_pair_agrees
from tests.compilation import quicken
from tests.conftest import EVERYDAY
from tests.flax_models.test_full_size import full_size
from tests.pairs import make_pair, model_inputs, model_pair, new_module

FAMILIES = {
    f"flax_models.{file}" for file in ("regression", "mlp", "lenet", "alexnet", "vgg", "googlenet", "resnet")
}
ROWS = [name for name in TWINS if flax_models.MODELS[name].__module__ in FAMILIES]
# What differs from another in depth alone, or is made of blocks whose gradients are compared one by one.
DEEPER = {name for name in ROWS if name.startswith(("vgg1", "resnet")) and name[:5] != "vgg11"} - {
    "resnet_cifar"
}
FORWARD = TOLERANCES["float64"].forward


def test_the_families_are_here():
    assert len(ROWS) == 4 + 2 + 7 + 1 + 8 + 1 + 4


BLOCKS = [  # (family, class, its arguments, the channels that come out)
    ("resnet", "ResBlock", (4, 4), 4),
    ("resnet", "ResBlock", (4, 6), 6),
    ("resnet", "BasicBlock", (4, 4), 4),
    ("resnet", "BasicBlock", (4, 6, 2), 6),
    ("resnet", "Bottleneck", (4, 3, 2), 12),
    ("googlenet", "Inception", (4, 2, 3, 4, 2, 3, 5), 2 + 4 + 3 + 5),
    ("googlenet", "InceptionA", (4, 6), 224 + 6),
]


@pytest.mark.parametrize(("family", "name", "arguments", "channels"), BLOCKS)
def test_blocks(family, name, arguments, channels):
    """Outputs, buffers and every gradient in training; and the torch block can be scripted."""
    ours = getattr(importlib.import_module(f"flax_models.{family}"), name)
    theirs = getattr(importlib.import_module(f"torch_models.{family}"), name)
    pair = make_pair(lambda: ours(*arguments, rngs=nnx.Rngs(0)), lambda: theirs(*arguments))
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 4))
    assert_pair_agrees(pair, x)
    outputs = torch.jit.script(pair.theirs)(torch.tensor(x).permute(0, 3, 1, 2))
    assert outputs.shape == (2, channels, *((3, 3) if arguments[-1] == 2 else (6, 6)))
    assert (outputs.min() < 0) == (name == "ResBlock")  # no ReLU after its sum


@pytest.mark.heavy
def test_googlenet_in_training(float64, monkeypatch):
    quicken(monkeypatch)
    pair = model_pair("googlenet")
    result = compare_call(*pair, model_inputs("googlenet", 2), gradients=False, seed=0)
    assert result.outputs <= FORWARD and max(result.buffers.values()) <= FORWARD
    assert {"aux1.fc2", "aux2.fc2", "fc"} <= result.layers.keys()


def first_weights(name: str, **options) -> list[dict[str, np.ndarray]]:
    """{torch name: array} of a new model of each framework."""
    ours = new_module(lambda: flax_models.MODELS[name](**options, rngs=nnx.Rngs(0)))
    states = [to_torch(ours, torch_models.MODELS[name](**options)), torch_models.MODELS[name](**options)]
    return [{key: value.numpy() for key, value in model.state_dict().items()} for model in states]


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "googlenet"])
def test_first_weights_of_the_large_ones(name):
    small = {"num_classes": 200, "width": 16, **({"hidden_features": 200} if name == "vgg11_bn" else {})}
    for state in first_weights(name, **small):
        checked = 0
        for key, value in state.items():
            if value.ndim == 1 and key.endswith("weight"):
                assert (value == 1).all()  # a norm
            if name != "googlenet" and key.endswith("bias") and (name == "vgg11_bn" or "bn" in key):
                assert (value == 0).all()
            if value.ndim < 2 or value.size < 2000 or (name == "resnet18" and value.ndim == 2):
                continue
            fan_out = value.shape[0] * math.prod(value.shape[2:])
            std = 0.01 if name == "googlenet" or value.ndim == 2 else math.sqrt(2 / fan_out)
            assert abs(value.std() / std - 1) < 0.08, key
            assert abs(value.mean()) < 0.1 * std, key
            assert abs(value).max() > 2.5 * std, key  # a normal distribution's tail
            checked += 1
        assert checked >= 8
        two = [v.ravel()[:100] for v in state.values() if v.ndim == 4 and v.size > 100][:2]
        assert not np.allclose(two[0] / two[0].std(), two[1] / two[1].std())


def test_first_weights_of_the_others():
    for state in first_weights("two_layer_net"):
        assert abs(state["fc1.weight"].std() - 1) < 0.02 and set(state) == {"fc1.weight", "fc2.weight"}
    for name, options in (("alexnet", {"width": 16, "hidden_features": 50}), ("resnet_cifar", {"width": 8})):
        for state in first_weights(name, **options):
            for key in (key for key, value in state.items() if value.ndim > 1 and value.size > 500):
                bound = 1 / math.sqrt(math.prod(state[key].shape[1:]))
                assert 0.98 * bound < abs(state[key]).max() <= bound


def outputs_of(name: str, size: int, training: bool, **options) -> list[tuple[int, ...]]:
    """Shapes of what a Flax model returns for two images."""

    def called():
        model = flax_models.MODELS[name](**options, rngs=nnx.Rngs(0))
        model.train() if training else model.eval()
        return model(jnp.zeros((2, size, size, 3)))

    return [y.shape for y in jax.tree.leaves(nnx.eval_shape(called))]


@pytest.mark.parametrize(("size", "training"), [(64, True), (96, False)])
@pytest.mark.parametrize("name", ["alexnet", "vgg11", "googlenet", "resnet18"])
def test_other_image_sizes(name, size, training):
    shapes = [(2, 7)] * (3 if name == "googlenet" and training else 1)
    assert outputs_of(name, size, training, num_classes=7) == shapes
    theirs = full_size(name, num_classes=7).theirs.train(training)
    images = torch.zeros(2, 3, size, size, device="meta")
    assert [y.shape for y in jax.tree.leaves(theirs(images))] == shapes


def test_alexnet_refuses_smaller_images_than_63():
    assert outputs_of("alexnet", 63, False) == [(2, 1000)]
    with pytest.raises(ValueError, match=r"smaller"):
        outputs_of("alexnet", 62, False)


def test_sizes_of_resnet_cifar():
    def sizes():
        model = flax_models.MODELS["resnet_cifar"](rngs=nnx.Rngs(0))
        outputs = record_flax_outputs(model)
        model(jnp.zeros((2, 32, 32, 3)))
        return {name: y for name, y in outputs.items() if "." not in name}

    outputs = nnx.eval_shape(sizes)
    names = ("conv", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")
    assert [outputs[name].shape[1] for name in names] == [16, 14, 14, 7, 4, 2, 1]
    assert outputs["avgpool"].shape == (2, 1, 1, 512)


SCRIPTED = [
    pytest.param(name, marks=[] if name in EVERYDAY else pytest.mark.heavy)
    for name in ROWS
    if name not in DEEPER
]


@pytest.mark.parametrize("name", SCRIPTED)
def test_the_torch_twin_can_be_scripted_in_training(name):
    """In evaluation the exports of tests/convert/test_catalogue.py show it."""
    model = torch_models.MODELS[name](**TWINS[name].tiny).train()
    x = torch.tensor(model_inputs(name, 3)[0], dtype=torch.float32)
    x = x.permute(0, 3, 1, 2) if x.ndim == 4 else x
    scripted = torch.jit.script(model)
    torch.manual_seed(0)
    expected = model(x)
    torch.manual_seed(0)
    values = scripted(x)
    assert type(values) is type(expected) is (tuple if name == "googlenet" else torch.Tensor)
    for value, wanted in zip(jax.tree.leaves(values), jax.tree.leaves(expected), strict=True):
        assert torch.allclose(value, wanted, rtol=1e-5, atol=1e-6)


def test_googlenets_transformed_input(float64):
    options = {**TWINS["googlenet"].tiny, "transform_input": True, "aux_logits": False}
    ours, theirs = model_pair("googlenet", options=options, training=False)
    (x,) = model_inputs("googlenet", 1)
    images = torch.tensor(x).permute(0, 3, 1, 2)
    transformed = theirs._transformed(images)
    # torchvision's formula, channel by channel.
    for channel, (std, mean) in enumerate([(0.229, 0.485), (0.224, 0.456), (0.225, 0.406)]):
        wanted = images[:, channel] * (std / 0.5) + (mean - 0.5) / 0.5
        assert torch.allclose(transformed[:, channel], wanted, rtol=0, atol=1e-15)
    assert np.allclose(ours._transformed(jnp.asarray(x)), transformed.permute(0, 2, 3, 1), rtol=0, atol=1e-15)
    assert torch.allclose(torch.jit.script(theirs)(images), theirs(images), rtol=0, atol=1e-14)
    theirs.train()
    assert isinstance(theirs(images.repeat(2, 1, 1, 1)), torch.Tensor)  # without auxiliary heads


def test_googlenets_width_must_keep_channels_whole():
    for package, rngs in ((flax_models, {"rngs": nnx.Rngs(0)}), (torch_models, {})):
        with pytest.raises(ValueError, match="multiple of 8, got 12"):
            package.MODELS["googlenet"](width=12, **rngs)
