"""Normalisations beside torch's: outputs, gradients, and the running statistics of several batches."""

import jax
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from convert.certificate.tolerances import TOLERANCES
from tests.agreement import assert_pair_agrees, channels_first, compare
from tests.flax_models.layers.layer_pairs import layer_pair, seeds

channels = st.integers(1, 4)
momenta = st.sampled_from([0.1, 0.5, None])
epsilons = st.sampled_from([1e-5, 1e-3, 0.8])
sides = st.tuples(st.integers(1, 4), st.integers(2, 4))


def batches(rng, shape):
    return 3 * rng.normal(size=shape) + 2  # a mean that is not zero


@given(st.sampled_from([(3,), (2, 4), (4, 3)]), channels, epsilons, momenta, st.booleans(), st.booleans(),
       st.booleans(), seeds)  # fmt: skip
def test_batch_norm1d(leading, channels, eps, momentum, affine, tracked, training, seed):
    pair = layer_pair("BatchNorm1d", channels, eps, momentum, affine, tracked, seed=seed)
    pair.set_training(training)
    assert_pair_agrees(pair, batches(np.random.default_rng(seed), (*leading, channels)))


@given(sides, channels, epsilons, momenta, st.booleans(), st.booleans(), st.booleans(), seeds)
def test_batch_norm2d(sides, channels, eps, momentum, affine, tracked, training, seed):
    pair = layer_pair("BatchNorm2d", channels, eps, momentum, affine, tracked, seed=seed)
    pair.set_training(training)
    assert_pair_agrees(pair, batches(np.random.default_rng(seed), (2, *sides, channels)))


@given(sides, channels, epsilons, momenta, st.booleans(), st.booleans(), st.booleans(), seeds)
def test_instance_norm2d(sides, channels, eps, momentum, affine, tracked, training, seed):
    pair = layer_pair("InstanceNorm2d", channels, eps, momentum, affine, tracked, seed=seed)
    pair.set_training(training)
    assert_pair_agrees(pair, batches(np.random.default_rng(seed), (2, *sides, channels)))


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize(
    ("name", "shape"), [("BatchNorm1d", (5, 3)), ("BatchNorm1d", (2, 4, 3)), ("BatchNorm2d", (2, 3, 4, 3)),
                        ("InstanceNorm2d", (2, 3, 4, 3))],
)  # fmt: skip
def test_buffers_after_several_batches(name, shape, momentum):
    rng = np.random.default_rng(0)
    pair = layer_pair(name, 3, momentum=momentum, track_running_stats=True)
    for _ in range(4):
        x = batches(rng, shape)
        with jax.enable_x64(True):
            pair.ours(jax.numpy.asarray(x))
        pair.theirs(torch.from_numpy(channels_first(x)))
    for leaf, expected in pair.theirs.named_buffers():
        value = np.asarray(getattr(pair.ours, leaf)[...])  # one axis, so one layout
        compare(name, "buffer", value, expected, TOLERANCES["float64"].forward)
    pair.set_training(False)
    assert_pair_agrees(pair, batches(rng, shape))


@given(st.sampled_from([(2, 3), (1, 2, 3), (3,)]), st.sampled_from([(1, 4), (2, 4), (3, 3), (1, 1)]),
       epsilons, st.booleans(), seeds)  # fmt: skip
def test_group_norm(leading, groups, eps, affine, seed):
    pair = layer_pair("GroupNorm", *groups, eps, affine, seed=seed)
    assert_pair_agrees(pair, batches(np.random.default_rng(seed), (2, *leading, groups[1])))


@given(st.sampled_from([4, (4,), (3, 4), (1,)]), st.sampled_from([(), (2,), (2, 3)]), epsilons,
       st.booleans(), st.booleans(), seeds)  # fmt: skip
def test_layer_norm_of_trailing_axes(normalized, leading, eps, affine, bias, seed):
    pair = layer_pair("LayerNorm", normalized, eps, affine, bias, seed=seed)
    shape = (*leading, *([normalized] if isinstance(normalized, int) else normalized))
    assert_pair_agrees(pair, batches(np.random.default_rng(seed), shape), images=False)


@given(st.sampled_from([(3, 2, 4), (1, 3, 2), (2, 2, 2)]), st.booleans(), st.booleans(), seeds)
def test_layer_norm_after_a_convolution_takes_torchs_shape(normalized, affine, bias, seed):
    pair = layer_pair("LayerNorm", normalized, elementwise_affine=affine, bias=bias, seed=seed)
    c, h, w = normalized
    assert_pair_agrees(pair, batches(np.random.default_rng(seed), (2, h, w, c)))


@pytest.mark.parametrize(
    ("name", "arguments", "shape"),
    [("BatchNorm1d", (3,), (5, 3)), ("BatchNorm2d", (3,), (2, 3, 4, 3)),
     ("InstanceNorm2d", (3, 1e-5, 0.1, True), (2, 3, 4, 3)),
     ("GroupNorm", (2, 4), (2, 3, 2, 4)), ("LayerNorm", ((4, 2, 3),), (2, 2, 3, 4))],
)  # fmt: skip
def test_second_derivatives(name, arguments, shape):
    """The gradients are written out in closed form: they must themselves have gradients."""
    assert_pair_agrees(layer_pair(name, *arguments), batches(np.random.default_rng(0), shape), second=True)
