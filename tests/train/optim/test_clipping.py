"""torch's gradient clipping against torch."""

from typing import Any

import jax
import numpy as np
import pytest
import torch

from tests.train.optim.against_torch import CLIPS, STEPS_TOLERANCE, largest_difference, random_tree
from tests.train.rounding import rounding

pytestmark = pytest.mark.standard_promotion("training runs under jax's default promotion")


@pytest.mark.parametrize("clip", [("norm", 0.5), ("norm", 3.0), ("norm", 1e3), ("value", 0.3)], ids=str)
def test_steps_are_those_of_torch_with_clipping(clip):
    with jax.enable_x64(True):
        assert (
            largest_difference("SGD", {"lr": 0.05, "momentum": 0.9}, np.float64, clip=clip) < STEPS_TOLERANCE
        )


@pytest.mark.parametrize("size", [1e-8, 1e-6, 1e-3, 1.0, 1e6])
@pytest.mark.parametrize("limit", [1e-6, 1.0])
@pytest.mark.parametrize("kind", CLIPS)
def test_gradients_are_clipped_as_torch_clips_them(kind, limit, size):
    """The comparison is relative: at small norms the 1e-6 in torch's denominator has an effect."""
    ours, theirs = CLIPS[kind]
    with jax.enable_x64(True):
        grads: Any = {k: size * v for k, v in random_tree(0, np.float64).items()}
        clipped: Any
        clipped, _ = ours(limit).update(grads, ours(limit).init(grads))
        twins = {k: torch.zeros(v.shape, dtype=torch.float64) for k, v in grads.items()}
        for k, twin in twins.items():
            twin.grad = torch.tensor(grads[k])
        theirs(twins.values(), limit)
        for k, twin in twins.items():
            assert twin.grad is not None
            np.testing.assert_allclose(clipped[k], twin.grad.numpy(), rtol=rounding(np.float64, 8))
