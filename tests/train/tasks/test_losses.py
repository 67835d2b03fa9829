"""The losses of supervised training against torch's, value by value and with their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from convert.certificate.tolerances import TOLERANCES
from tests.train.rounding import rounding
from torch_models.steps.supervised import SUPERVISED_LOSSES
from train.tasks.losses.supervised import (
    PER_EXAMPLE,
    SUMMED,
    binary_cross_entropy,
    is_correct,
    predicted_class,
)


def outputs_and_targets(name):
    """Outputs and targets that suit the loss, (7, 5) or labels (7,)."""
    rng = np.random.default_rng(0)
    outputs, targets = rng.standard_normal((7, 5)), rng.standard_normal((7, 5))
    if name in ("cross_entropy", "nll"):
        targets = rng.integers(0, 5, 7)
    if name == "bce":
        outputs, targets = rng.uniform(size=(7, 5)), rng.integers(0, 2, (7, 5)).astype(float)
        outputs[0] = [0, 1, 0, 1, 0.5]  # torch clips the logarithm there
        targets[0] = [0, 1, 1, 0, 1]
    return outputs, targets


@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_losses_and_gradients_are_those_of_torch(name):
    outputs, targets = outputs_and_targets(name)
    x = torch.tensor(outputs, requires_grad=True)
    expected = SUPERVISED_LOSSES[name](x, torch.tensor(targets))
    expected.backward()
    assert x.grad is not None
    reduce = jnp.sum if name in SUMMED else jnp.mean
    with jax.enable_x64(True):
        y = jnp.asarray(targets)
        value, gradient = jax.value_and_grad(lambda x: reduce(PER_EXAMPLE[name](x, y)))(jnp.asarray(outputs))
    assert float(value) == pytest.approx(expected.item(), rel=rounding(np.float64, 64))
    np.testing.assert_allclose(gradient, x.grad.numpy(), rtol=TOLERANCES["float64"].forward)


@pytest.mark.parametrize("name", PER_EXAMPLE)
def test_targets_of_another_shape_are_refused(name):
    """Without the check a column of targets would broadcast against a row of outputs."""
    outputs, targets = (jnp.asarray(array) for array in outputs_and_targets(name))
    with pytest.raises(ValueError, match="shape"):
        PER_EXAMPLE[name](outputs, targets[:, None])


def test_bce_has_a_second_derivative():
    with jax.enable_x64(True):
        second = jax.grad(jax.grad(lambda p: binary_cross_entropy(p, jnp.ones(()))))(0.25)
    assert float(second) == pytest.approx(1 / 0.25**2)


def test_the_predicted_class_is_the_largest_output_or_a_probability_of_half():
    logits = jnp.array([[0.1, 0.9, 0.0], [2.0, 1.0, -1.0]])
    assert predicted_class(logits).tolist() == [1, 0]
    assert is_correct(logits, jnp.array([1, 1])).tolist() == [True, False]
    probabilities = jnp.array([[0.5], [0.49], [0.9]])
    assert predicted_class(probabilities).tolist() == [True, False, True]
    assert is_correct(probabilities, jnp.array([[1.0], [1.0], [0.0]])).tolist() == [True, False, False]
