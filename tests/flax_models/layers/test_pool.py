"""Pools beside torch's, at odd sizes and with ties: integers as inputs make many."""

import jax
import numpy as np
import pytest
import torch
from flax import nnx
from hypothesis import assume, given
from hypothesis import strategies as st

from convert.certificate.calls import compare_call
from flax_models import layers
from tests.agreement import GRADIENT, assert_pair_agrees
from tests.flax_models.layers.layer_pairs import layer_pair, seeds
from tests.pairs import make_pair

sizes = st.tuples(st.integers(2, 7), st.integers(2, 7))
kernels = st.tuples(st.integers(1, 3), st.integers(1, 3))
strides = st.none() | kernels
paddings = st.tuples(st.integers(0, 1), st.integers(0, 1))
outputs = st.none() | st.integers(1, 7)


def images(seed, size, channels=2, integers=False):
    rng = np.random.default_rng(seed)
    shape = (2, *size, channels)
    return rng.integers(-1, 2, shape).astype(float) if integers else rng.normal(size=shape)


def fits(size, kernel_size, padding, dilation):
    """torch refuses smaller images, and half a kernel is the most padding."""
    geometry = zip(size, kernel_size, padding, dilation, strict=True)
    return all(p <= k // 2 and n + 2 * p >= d * (k - 1) + 1 for n, k, p, d in geometry)


def every_window_holds_a_value(size, kernel_size, stride, padding, dilation, ceil_mode):
    """A dilated window may hold padding alone. torch's gradient then writes outside its memory."""

    def windows(n, k, s, p, d):
        rest = n + 2 * p - d * (k - 1) - 1
        count = (-(-rest // s) if ceil_mode else rest // s) + 1
        starts = (number * s - p for number in range(count))
        return [range(start, start + d * k, d) for start in starts if start < n]

    geometry = zip(size, kernel_size, stride or kernel_size, padding, dilation, strict=True)
    return all(any(0 <= at < n for at in w) for n, *rest in geometry for w in windows(n, *rest))


@given(sizes, kernels, strides, paddings, kernels, st.booleans(), st.booleans(), st.booleans(), seeds)
def test_max_pool2d(size, kernel_size, stride, padding, dilation, indices, ceil_mode, integers, seed):
    assume(fits(size, kernel_size, padding, dilation))
    assume(every_window_holds_a_value(size, kernel_size, stride, padding, dilation, ceil_mode))
    pair = layer_pair("MaxPool2d", kernel_size, stride, padding, dilation, indices, ceil_mode)
    assert_pair_agrees(pair, images(seed, size, integers=integers), second=True, seed=seed)


@given(sizes, kernels, strides, paddings, st.booleans(), st.booleans(), st.none() | st.integers(-2, 5), seeds)
def test_avg_pool2d(size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor, seed):
    assume(fits(size, kernel_size, padding, (1, 1)) and divisor != 0)
    pair = layer_pair("AvgPool2d", kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)
    assert_pair_agrees(pair, images(seed, size), seed=seed)


@given(st.sampled_from([1, 2, 3.0, 4, float("inf"), -float("inf"), 1.5, 0.5]), sizes, kernels, strides,
       st.booleans(), st.booleans(), seeds)  # fmt: skip
def test_lp_pool2d(norm_type, size, kernel_size, stride, ceil_mode, integers, seed):
    assume(fits(size, kernel_size, (0, 0), (1, 1)))
    pair = layer_pair("LPPool2d", norm_type, kernel_size, stride, ceil_mode)
    x = images(seed, size, integers=integers)
    if norm_type not in (1, 2, 4):
        x = np.abs(x)  # others have no real root of a negative sum
    if norm_type == 0.5:
        x += 0.25  # the slope is infinite at 0
    assert_pair_agrees(pair, x, seed=seed)


@pytest.mark.parametrize("norm_type", [1, 2, 3])
def test_lp_pool2d_of_zeros_has_gradient_zero(norm_type):
    x = images(0, (4, 4))
    x[:, :2, :2] = 0
    assert_pair_agrees(layer_pair("LPPool2d", norm_type, 2), np.abs(x))


@given(sizes, outputs, outputs, seeds)
def test_adaptive_avg_pool2d(size, height, width, seed):
    pair = layer_pair("AdaptiveAvgPool2d", (height, width))
    assert_pair_agrees(pair, images(seed, size), seed=seed)


@given(sizes, outputs, outputs, st.booleans(), st.booleans(), seeds)
def test_adaptive_max_pool2d(size, height, width, indices, integers, seed):
    pair = layer_pair("AdaptiveMaxPool2d", (height, width), indices)
    assert_pair_agrees(pair, images(seed, size, integers=integers), second=True, seed=seed)


def test_the_gradient_below_a_norm_is_not_lost():
    """XLA computes the norm for the forward pass and again for the gradient, with another rounding."""

    def ours():
        rngs = nnx.Rngs(0)
        convolution = layers.Conv2d(4, 64, 3, padding=1, rngs=rngs)
        return layers.Sequential(convolution, layers.BatchNorm2d(64), layers.ReLU(), layers.MaxPool2d(2))

    def theirs():
        convolution = torch.nn.Conv2d(4, 64, 3, padding=1)
        return torch.nn.Sequential(
            convolution, torch.nn.BatchNorm2d(64), torch.nn.ReLU(), torch.nn.MaxPool2d(2)
        )

    pair, x = make_pair(ours, theirs), np.random.default_rng(0).normal(size=(2, 16, 18, 4))
    with jax.enable_x64(True), jax.default_matmul_precision("highest"):
        found = compare_call(pair.ours, pair.theirs, [x], gradients=True, seed=0)
    assert max(found.inputs, *found.parameters.values()) <= GRADIENT
