"""Classifiers at full size: the parameters, names and shapes that their sources publish."""

from typing import Any

import jax
import pytest
import torch
from flax import nnx

import flax_models
import torch_models
from tests.pairs import Pair

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


def full_size(name: str, **options: Any) -> Pair:
    """Both models at full size, as shapes."""
    with torch.device("meta"):
        theirs = torch_models.MODELS[name](**options)
    ours = nnx.eval_shape(lambda: flax_models.MODELS[name](**options, rngs=nnx.Rngs(0)))
    return Pair(ours, theirs)


def counts(ours: nnx.Module, theirs: torch.nn.Module) -> tuple[int, int]:
    parameters = jax.tree.leaves(nnx.state(ours, nnx.Param))
    return sum(p.size for p in parameters), sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("name", COUNTS)
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
    assert list(full_size(name).theirs.state_dict()) == KEYS[name]


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
    theirs = full_size(name).theirs
    assert {key: theirs.state_dict()[key].shape for key in SHAPES[name]} == SHAPES[name]
    if name == "resnet50":  # the stride of a bottleneck is in its 3x3 convolution
        assert theirs.layer2[0].conv1.stride == (1, 1) and theirs.layer2[0].conv2.stride == (2, 2)
