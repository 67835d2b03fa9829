"""The leaves that the check of the optimizer steps leaves out."""

import numpy as np
import pytest
import torch

import torch_models
from convert.certificate.exempt import exempt_leaves
from convert.twins import TWINS
from tests.pairs import model_inputs, model_pair


def biases_and_means(path: str, *numbers: int) -> list[str]:
    """Of convolutions or linear layers with these numbers, each followed by a norm with a running mean."""
    return [name for n in numbers for name in (f"{path}.{n}.bias", f"{path}.{n + 1}.running_mean")]


# Written by hand from the layers of each model.
EXEMPT = {
    "mlp_bn": ["fc.1.bias", "fc.2.running_mean", "fc.4.bias", "fc.5.running_mean"],
    "cnn_bn": biases_and_means("conv", 0, 3, 7, 10),
    "vgg11_bn": biases_and_means("features", 0, 4, 8, 11, 15, 18, 22, 25),
    "vgg13_bn": biases_and_means("features", 0, 3, 7, 10, 14, 17, 21, 24, 28, 31),
    "vgg16_bn": biases_and_means("features", 0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40),
    "vgg19_bn": biases_and_means("features", 0, 3, 7, 10, 14, 17, 20, 23, 27, 30, 33, 36, 40, 43, 46, 49),
    "mlp_gan": biases_and_means("generator.fc", 2, 5, 8),
    "ctc_reader": [name for n in (1, 2, 3) for name in biases_and_means(f"conv{n}", 0)],
    "captioner": biases_and_means("conv", 0, 4, 8) + biases_and_means("image", 0),
    "cyclegan": [  # an instance norm has no running mean; the small variant has one residual block
        f"{child}.model.{path}.bias"
        for child in ("generator_ab", "generator_ba")
        for path in ("1", "4", "7", "10.conv_block.1", "10.conv_block.5", "11", "14")
    ]
    + [f"{child}.model.{n}.bias" for child in ("discriminator_a", "discriminator_b") for n in (2, 5, 8)],
}


@pytest.mark.parametrize("model", TWINS)
def test_exempt_are_the_biases_that_feed_a_norm(model):
    with torch.device("meta"):
        twin = torch_models.MODELS[model](**TWINS[model].tiny)
    assert sorted(exempt_leaves(twin)) == sorted(EXEMPT.get(model, []))
    assert set(exempt_leaves(twin)) <= set(twin.state_dict())


def test_a_bias_is_exempt_only_directly_before_a_norm():
    linear, norm = torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2)
    between = torch.nn.Sequential(linear, torch.nn.ReLU(), norm)
    without = torch.nn.Sequential(torch.nn.Linear(2, 2, bias=False), norm)
    untracked = torch.nn.Sequential(linear, torch.nn.BatchNorm1d(2, track_running_stats=False))
    assert exempt_leaves(between) == exempt_leaves(without) == exempt_leaves(linear) == ()
    assert exempt_leaves(untracked) == ("0.bias",)
    assert exempt_leaves(torch.nn.ModuleDict({"a": untracked})) == ("a.0.bias",)


def test_the_true_gradient_of_an_exempt_bias_is_zero_and_of_no_other_parameter():
    theirs = model_pair("mlp_bn").theirs
    (images,) = model_inputs("mlp_bn", 8)
    outputs = theirs(torch.tensor(images).permute(0, 3, 1, 2))
    (outputs * torch.tensor(np.random.default_rng(0).normal(size=outputs.shape))).sum().backward()
    largest = {name: float(parameter.grad.abs().max()) for name, parameter in theirs.named_parameters()}
    zero = {name for name, value in largest.items() if value < 1e-10}
    assert zero == {name for name in EXEMPT["mlp_bn"] if name.endswith("bias")}
    assert min(value for name, value in largest.items() if name not in zero) > 1e-3
