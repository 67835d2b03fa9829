"""Activations beside torch's, at their kinks too: 0, and the thresholds."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.agreement import assert_pair_agrees
from tests.flax_models.layers.layer_pairs import layer_pair, seeds

KINKS = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.0, 2.0, 3.0, 6.0, 20.0, 20.5, 40.0, -40.0])

ACTIVATIONS = [
    ("Identity", (1, "ignored"), {}), ("ReLU", (), {}), ("Tanh", (), {}), ("Sigmoid", (), {}),
    ("SiLU", (), {}),
    ("LeakyReLU", (), {}), ("LeakyReLU", (0.2,), {}), ("LeakyReLU", (0.0,), {}), ("LeakyReLU", (-0.5,), {}),
    ("ELU", (), {}), ("ELU", (0.3,), {}), ("GELU", (), {}), ("GELU", ("tanh",), {}),
    ("Softplus", (), {}), ("Softplus", (2.0, 1.0), {}), ("Hardtanh", (), {}), ("Hardtanh", (-2.0, 3.0), {}),
    ("PReLU", (), {}), ("PReLU", (), {"init": -0.5}), ("PReLU", (4,), {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "kwargs"), ACTIVATIONS)
@pytest.mark.parametrize("shape", [(13, 4), (2, 3, 2, 4)])
def test_outputs_and_gradients_at_kinks(name, args, kwargs, shape):
    x = 3 * np.random.default_rng(0).normal(size=shape)
    x.reshape(-1, 4)[:, 0] = x.reshape(-1, 4)[:, 3] = np.resize(KINKS, x.size // 4)
    assert_pair_agrees(layer_pair(name, *args, **kwargs), x)


@pytest.mark.parametrize(("name", "args", "kwargs"), ACTIVATIONS)
def test_second_derivatives_between_kinks(name, args, kwargs):
    x = 3 * np.random.default_rng(1).normal(size=(6, 4))
    assert_pair_agrees(layer_pair(name, *args, **kwargs), x, second=True)


@pytest.mark.parametrize(("name", "args", "kwargs"), ACTIVATIONS)
def test_gradients_far_out_are_finite(name, args, kwargs):
    x = np.array([[-1e4, 1e4, 1e3, -1e3]])
    assert_pair_agrees(layer_pair(name, *args, **kwargs), x)


@given(st.sampled_from(["Softmax", "LogSoftmax"]), st.sampled_from([(3,), (2, 3), (2, 4, 3), (2, 3, 2, 4)]),
       st.integers(-4, 3), seeds)  # fmt: skip
def test_softmax_along_every_axis_of_torchs(name, shape, dim, seed):
    dim = max(-len(shape), min(len(shape) - 1, dim))
    x = 5 * np.random.default_rng(seed).normal(size=shape)
    assert_pair_agrees(layer_pair(name, dim), x)
