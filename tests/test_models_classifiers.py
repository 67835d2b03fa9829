"""Regression, perceptrons and convolutional classifiers: twins, and torchvision's where it has them."""

import functools
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
from convert import to_flax, to_torch
from convert.certificate.calls import compare_call, recorded
from convert.certificate.random_weights import randomised
from convert.certificate.tolerances import TOLERANCES
from convert.twins import TWINS, find_twin
from convert.weights import flat_variables
from flax_models import layers
from tests.layer_twins import QUICK

FAMILIES = {
    f"flax_models.{file}" for file in ("regression", "mlp", "lenet", "alexnet", "vgg", "googlenet", "resnet")
}
ROWS = [name for name in TWINS if flax_models.MODELS[name].__module__ in FAMILIES]
# What differs from another in depth alone, or is made of blocks whose gradients are compared one by one.
DEEPER = {name for name in ROWS if name.startswith(("vgg1", "resnet")) and name[:5] != "vgg11"} - {
    "resnet_cifar"
}
FORWARD, GRADIENT = TOLERANCES["float64"].forward, TOLERANCES["float64"].gradient


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Tiny networks: the time goes into compiling, so XLA is asked not to optimise."""
    monkeypatch.setattr(jax, "jit", functools.partial(jax.jit, compiler_options=QUICK))


def filled(model: nnx.Module, dtype=np.float64, seed: int = 0) -> nnx.Module:
    """An abstract model with random leaves of variances that neither vanish nor explode."""
    rng = np.random.default_rng(seed)
    for path, variable in flat_variables(model).items():
        if len(variable.shape) > 1:
            value = rng.standard_normal(variable.shape) * math.sqrt(2 / math.prod(variable.shape[:-1]))
        else:
            value = randomised(np.ones(variable.shape, variable.dtype), str(path[-1]), rng)
        variable.set_value(jnp.asarray(value.astype(dtype) if value.dtype.kind == "f" else value))
    for _, module in nnx.iter_modules(model):
        if isinstance(module, layers.Dropout):  # no masks here, so no stream, which would be abstract
            module.rngs = nnx.data(None)
    return model


def pair(name: str, **options):
    """A tiny model and its twin with the same random weights, in float64."""
    options = {**TWINS[name].tiny, **options}
    ours = filled(nnx.eval_shape(lambda: flax_models.MODELS[name](**options, rngs=nnx.Rngs(0))))
    return ours, to_torch(ours, torch_models.MODELS[name](**options).double())


def inputs(name: str, batch: int) -> list[np.ndarray]:
    return [
        example.draw(np.random.default_rng(1), batch)
        for example in find_twin(name, TWINS[name].tiny).examples[""]
    ]


def check_training(ours, theirs, arrays):
    """Forward, buffers and every gradient, in training mode."""
    ours.train(), theirs.train()
    result = compare_call(ours, theirs, arrays, gradients=True, seed=0)
    assert result.outputs <= FORWARD
    assert max(result.buffers.values(), default=0.0) <= FORWARD
    assert result.inputs <= GRADIENT
    assert result.parameters and max(result.parameters.values()) <= GRADIENT


@pytest.fixture
def float64():
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        yield


def test_the_families_are_here():
    assert len(ROWS) == 4 + 2 + 7 + 1 + 8 + 1 + 4


@pytest.mark.parametrize("name", ROWS)
def test_there_and_back_and_the_same_in_evaluation(name, float64):
    ours, theirs = pair(name)
    other = nnx.eval_shape(lambda: flax_models.MODELS[name](**TWINS[name].tiny, rngs=nnx.Rngs(0)))
    to_flax(theirs, filled(other, seed=1))
    back = flat_variables(other)
    assert all(np.array_equal(v[...], back[path][...]) for path, v in flat_variables(ours).items())
    ours.eval(), theirs.eval()
    assert compare_call(ours, theirs, inputs(name, 2), gradients=False, seed=0).outputs <= FORWARD


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
def test_blocks(family, name, arguments, channels, float64):
    cls = getattr(importlib.import_module(f"flax_models.{family}"), name)
    ours = filled(nnx.eval_shape(lambda: cls(*arguments, rngs=nnx.Rngs(0))))
    cls = getattr(importlib.import_module(f"torch_models.{family}"), name)
    theirs = to_torch(ours, cls(*arguments).double())
    x = np.random.default_rng(0).standard_normal((2, 6, 6, 4))
    check_training(ours, theirs, [x])
    outputs = torch.jit.script(theirs)(torch.tensor(x).permute(0, 3, 1, 2))
    assert outputs.shape == (2, channels, *((3, 3) if arguments[-1] == 2 else (6, 6)))
    assert (outputs.min() < 0) == (name == "ResBlock")  # no ReLU after its sum


def test_googlenet_in_training(float64):
    ours, theirs = pair("googlenet", dropout=0.0, dropout_aux=0.0)
    result = compare_call(ours, theirs, inputs("googlenet", 2), gradients=False, seed=0)
    assert result.outputs <= FORWARD and max(result.buffers.values()) <= FORWARD
    assert {"aux1.fc2", "aux2.fc2", "fc"} <= result.layers.keys()


COUNTS = {
    "linear_regression": 2, "polynomial_regression": 4, "logistic_regression": 3, "two_layer_net": 101_000,
    "fashion_mlp": 669_706, "mlp_bn": 267_410, "lenet": 61_610, "lenet5": 61_706, "cnn_log_softmax": 431_080,
    "cnn_same": 28_938, "cnn_bn": 2_328_298, "simple_cnn": 1_175_818, "cifar_quick": 145_578,
    "resnet_cifar": 11_180_682,
    # These as published by torchvision.
    "alexnet": 61_100_840, "vgg11": 132_863_336, "vgg13": 133_047_848, "vgg16": 138_357_544,
    "vgg19": 143_667_240, "vgg11_bn": 132_868_840, "vgg13_bn": 133_053_736, "vgg16_bn": 138_365_992,
    "vgg19_bn": 143_678_248, "googlenet": 13_004_888, "resnet18": 11_689_512, "resnet34": 21_797_672,
    "resnet50": 25_557_032,
}  # fmt: skip


def full_size(name: str, **options):
    """Both models at full size, as shapes."""
    with torch.device("meta"):
        theirs = torch_models.MODELS[name](**options)
    return nnx.eval_shape(lambda: flax_models.MODELS[name](**options, rngs=nnx.Rngs(0))), theirs


def counts(ours: nnx.Module, theirs: torch.nn.Module) -> tuple[int, int]:
    parameters = jax.tree.leaves(nnx.state(ours, nnx.Param))
    return sum(p.size for p in parameters), sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("name", ROWS)
def test_parameters_of_the_full_size_model(name):
    assert counts(*full_size(name)) == (COUNTS[name], COUNTS[name])


def test_googlenet_without_auxiliary_heads():
    ours, theirs = full_size("googlenet", aux_logits=False)
    assert counts(ours, theirs) == (6_624_904, 6_624_904)
    assert not any(key.startswith("aux") for key in theirs.state_dict())


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def norm(*paths: str) -> list[str]:
    return [f"{path}.{leaf}" for path in paths for leaf in NORM]


def linear(*paths: str) -> list[str]:
    return [f"{path}.{leaf}" for path in paths for leaf in ("weight", "bias")]


def conv_norm(path: str, conv: str = "conv", bn: str = "bn") -> list[str]:
    return [f"{path}{conv}.weight", *norm(f"{path}{bn}")]


def inception(path: str) -> list[str]:
    branches = ("branch1", "branch2.0", "branch2.1", "branch3.0", "branch3.1", "branch4.1")
    return [key for branch in branches for key in conv_norm(f"{path}.{branch}.")]


def blocks(layer: str, count: int, convolutions: int, projected: bool) -> list[str]:
    keys = []
    for block in range(count):
        for n in range(1, convolutions + 1):
            keys += conv_norm(f"{layer}.{block}.", f"conv{n}", f"bn{n}")
        if block == 0 and projected:
            keys += conv_norm(f"{layer}.0.downsample.", "0", "1")
    return keys


STAGES = [f"inception{stage}" for stage in ("3a", "3b", "4a", "4b", "4c", "4d", "4e", "5a", "5b")]
AUX = [
    key for aux in ("aux1", "aux2") for key in conv_norm(f"{aux}.conv.") + linear(f"{aux}.fc1", f"{aux}.fc2")
]
VGG_FC = linear("classifier.0", "classifier.3", "classifier.6")
KEYS = {
    "alexnet": linear(*(f"features.{n}" for n in (0, 3, 6, 8, 10)),
                      *(f"classifier.{n}" for n in (1, 4, 6))),
    "vgg11": linear(*(f"features.{n}" for n in (0, 3, 6, 8, 11, 13, 16, 18))) + VGG_FC,
    "vgg16": linear(*(f"features.{n}" for n in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28))) + VGG_FC,
    "vgg11_bn": [key for n in (0, 4, 8, 11, 15, 18, 22, 25)
                 for key in linear(f"features.{n}") + norm(f"features.{n + 1}")] + VGG_FC,
    "googlenet": [key for n in (1, 2, 3) for key in conv_norm(f"conv{n}.")]
    + [key for stage in STAGES for key in inception(stage)] + AUX + linear("fc"),
    "resnet18": conv_norm("", "conv1", "bn1") + blocks("layer1", 2, 2, False)
    + [key for n in (2, 3, 4) for key in blocks(f"layer{n}", 2, 2, True)] + linear("fc"),
    "resnet50": conv_norm("", "conv1", "bn1")
    + [key for n, count in enumerate((3, 4, 6, 3), 1) for key in blocks(f"layer{n}", count, 3, True)]
    + linear("fc"),
}  # fmt: skip


@pytest.mark.parametrize("name", KEYS)
def test_the_keys_are_torchvisions_in_order(name):
    assert list(full_size(name)[1].state_dict()) == KEYS[name]


SHAPES = {
    "alexnet": {"classifier.1.weight": (4096, 9216)},
    "vgg19_bn": {"features.49.weight": (512, 512, 3, 3), "classifier.0.weight": (4096, 25088)},
    "googlenet": {"inception4d.branch2.1.conv.weight": (288, 144, 3, 3), "aux1.fc1.weight": (1024, 2048),
                  "inception3a.branch3.1.conv.weight": (32, 16, 3, 3),
                  "aux2.conv.conv.weight": (128, 528, 1, 1)},
    "resnet34": {"layer3.5.conv2.weight": (256, 256, 3, 3)},
    "resnet50": {"layer1.0.downsample.0.weight": (256, 64, 1, 1), "layer2.0.conv2.weight": (128, 128, 3, 3),
                 "fc.weight": (1000, 2048)},
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_torchvisions(name):
    theirs = full_size(name)[1]
    assert {key: theirs.state_dict()[key].shape for key in SHAPES[name]} == SHAPES[name]
    if name == "resnet50":  # the stride of a bottleneck is in its 3x3 convolution
        assert theirs.layer2[0].conv1.stride == (1, 1) and theirs.layer2[0].conv2.stride == (2, 2)


@pytest.mark.parametrize("name", ["mlp_bn", "cnn_bn", "vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn"])
def test_exempt_are_the_biases_that_feed_a_norm(name):
    _, theirs = full_size(name)
    exempt = []
    for path, module in theirs.named_modules():
        children = list(module.children()) if isinstance(module, torch.nn.Sequential) else []
        for n in range(1, len(children)):
            if (
                "BatchNorm" in type(children[n]).__name__
                and getattr(children[n - 1], "bias", None) is not None
            ):
                exempt += [f"{path}.{n - 1}.bias", f"{path}.{n}.running_mean"]
    assert exempt and tuple(exempt) == TWINS[name].exempt


def first_weights(name: str, **options) -> list[dict[str, np.ndarray]]:
    """{torch name: array} of a new model of each framework."""
    ours = nnx.jit(lambda: flax_models.MODELS[name](**options, rngs=nnx.Rngs(0)))()
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
    """Shapes of what a Flax model returns for two pictures."""

    def called():
        model = flax_models.MODELS[name](**options, rngs=nnx.Rngs(0))
        model.train() if training else model.eval()
        return model(jnp.zeros((2, size, size, 3)))

    return [y.shape for y in jax.tree.leaves(nnx.eval_shape(called))]


@pytest.mark.parametrize(("size", "training"), [(64, True), (96, False)])
@pytest.mark.parametrize("name", ["alexnet", "vgg11", "googlenet", "resnet18"])
def test_other_picture_sizes(name, size, training):
    shapes = [(2, 7)] * (3 if name == "googlenet" and training else 1)
    assert outputs_of(name, size, training, num_classes=7) == shapes
    theirs = full_size(name, num_classes=7)[1].train(training)
    pictures = torch.zeros(2, 3, size, size, device="meta")
    assert [y.shape for y in jax.tree.leaves(theirs(pictures))] == shapes


def test_alexnet_refuses_smaller_pictures_than_63():
    assert outputs_of("alexnet", 63, False) == [(2, 1000)]
    with pytest.raises(ValueError, match=r"smaller"):
        outputs_of("alexnet", 62, False)


def test_sizes_of_resnet_cifar():
    def sizes():
        model = flax_models.MODELS["resnet_cifar"](rngs=nnx.Rngs(0))
        with recorded(model) as outputs:
            model(jnp.zeros((2, 32, 32, 3)))
        return {name: y for name, y in outputs.items() if "." not in name}

    outputs = nnx.eval_shape(sizes)
    names = ("conv", "maxpool", "layer1", "layer2", "layer3", "layer4", "avgpool")
    assert [outputs[name].shape[1] for name in names] == [16, 14, 14, 7, 4, 2, 1]
    assert outputs["avgpool"].shape == (2, 1, 1, 512)


@pytest.mark.parametrize("name", ROWS)
def test_the_torch_twin_can_be_scripted(name):
    model = torch_models.MODELS[name](**TWINS[name].tiny)
    x = torch.tensor(inputs(name, 3)[0], dtype=torch.float32)
    x = x.permute(0, 3, 1, 2) if x.ndim == 4 else x
    for mode in (False,) if name in DEEPER else (True, False):
        scripted = torch.jit.script(model.train(mode))
        torch.manual_seed(0)
        expected = model(x)
        torch.manual_seed(0)
        values = scripted(x)
        assert type(values) is type(expected) is (tuple if mode and name == "googlenet" else torch.Tensor)
        for value, wanted in zip(jax.tree.leaves(values), jax.tree.leaves(expected), strict=True):
            assert torch.allclose(value, wanted, rtol=1e-5, atol=1e-6)


def test_googlenets_transformed_input(float64):
    ours, theirs = pair("googlenet", transform_input=True, aux_logits=False)
    ours.eval(), theirs.eval()
    (x,) = inputs("googlenet", 1)
    pictures = torch.tensor(x).permute(0, 3, 1, 2)
    transformed = theirs._transformed(pictures)
    # torchvision's formula, channel by channel.
    for channel, (std, mean) in enumerate([(0.229, 0.485), (0.224, 0.456), (0.225, 0.406)]):
        wanted = pictures[:, channel] * (std / 0.5) + (mean - 0.5) / 0.5
        assert torch.allclose(transformed[:, channel], wanted, rtol=0, atol=1e-15)
    assert np.allclose(ours._transformed(jnp.asarray(x)), transformed.permute(0, 2, 3, 1), rtol=0, atol=1e-15)
    assert torch.allclose(torch.jit.script(theirs)(pictures), theirs(pictures), rtol=0, atol=1e-14)
    theirs.train()
    assert isinstance(theirs(pictures.repeat(2, 1, 1, 1)), torch.Tensor)  # without auxiliary heads


def test_googlenets_width_must_keep_channels_whole():
    for package, rngs in ((flax_models, {"rngs": nnx.Rngs(0)}), (torch_models, {})):
        with pytest.raises(ValueError, match="multiple of 8, got 12"):
            package.MODELS["googlenet"](width=12, **rngs)
