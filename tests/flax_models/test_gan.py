"""Generators and discriminators: their first weights."""

import numpy as np
import pytest
import torch
from flax import nnx

import flax_models
import torch_models
from tests.pairs import new_module


@pytest.mark.parametrize("std", [0.02, 0.2])
def test_the_deviation_of_dcgan64_is_one_option_for_both(std):
    cls, options = flax_models.MODELS["dcgan64"], {"channels": 8, "initial_std": std}
    ours = new_module(lambda: cls(**options, rngs=nnx.Rngs(0)))
    torch.manual_seed(0)
    theirs = torch_models.MODELS["dcgan64"](**options)
    for weights in (
        [np.asarray(ours.generator.main[0].weight[...]), np.asarray(ours.discriminator.main[5].weight[...])],
        [theirs.generator.main[0].weight.detach(), theirs.discriminator.main[5].weight.detach()],
    ):
        assert all(float(weight.std()) == pytest.approx(std, rel=0.05) for weight in weights)
    for scale in (ours.generator.main[1].weight[...], theirs.generator.main[1].weight.detach()):
        assert float(scale.mean()) == pytest.approx(1, abs=std) and float(scale.std()) < 2 * std
