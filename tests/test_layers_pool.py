"""Pools beside torch's, at odd sizes and with ties: integers as inputs make many."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.layer_twins import assert_twins_agree, grid, seeds, twins

sizes = st.tuples(st.integers(2, 7), st.integers(2, 7))
kernels = st.tuples(st.integers(1, 3), st.integers(1, 3))
strides = st.none() | kernels
paddings = st.tuples(st.integers(0, 1), st.integers(0, 1))
outputs = st.none() | st.integers(1, 7)


def picture(seed, size, channels=2, integers=False):
    rng = np.random.default_rng(seed)
    shape = (2, *size, channels)
    return rng.integers(-1, 2, shape).astype(float) if integers else rng.normal(size=shape)


def fits(size, kernel_size, padding, dilation, ceil_mode):
    """Torch refuses smaller pictures, and half a kernel is the most padding."""
    geometry = zip(size, kernel_size, padding, dilation, strict=True)
    return all(p <= k // 2 and n + 2 * p >= d * (k - 1) + 1 for n, k, p, d in geometry)


@grid
@given(sizes, kernels, strides, paddings, kernels, st.booleans(), st.booleans(), st.booleans(), seeds)
def test_max_pool2d(size, kernel_size, stride, padding, dilation, indices, ceil_mode, integers, seed):
    assume(fits(size, kernel_size, padding, dilation, ceil_mode))
    ours, theirs = twins("MaxPool2d", kernel_size, stride, padding, dilation, indices, ceil_mode)
    assert_twins_agree(ours, theirs, picture(seed, size, integers=integers), second=True, seed=seed)


@grid
@given(sizes, kernels, strides, paddings, st.booleans(), st.booleans(), st.none() | st.integers(-2, 5), seeds)
def test_avg_pool2d(size, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor, seed):
    assume(fits(size, kernel_size, padding, (1, 1), ceil_mode) and divisor != 0)
    ours, theirs = twins("AvgPool2d", kernel_size, stride, padding, ceil_mode, count_include_pad, divisor)
    assert_twins_agree(ours, theirs, picture(seed, size), seed=seed)


@grid
@given(st.sampled_from([1, 2, 3.0, 4, float("inf"), -float("inf"), 1.5, 0.5]), sizes, kernels, strides,
       st.booleans(), st.booleans(), seeds)  # fmt: skip
def test_lp_pool2d(norm_type, size, kernel_size, stride, ceil_mode, integers, seed):
    assume(fits(size, kernel_size, (0, 0), (1, 1), ceil_mode))
    ours, theirs = twins("LPPool2d", norm_type, kernel_size, stride, ceil_mode)
    x = picture(seed, size, integers=integers)
    if norm_type not in (1, 2, 4):
        x = np.abs(x)  # others have no real root of a negative sum
    assert_twins_agree(ours, theirs, x, seed=seed)


@pytest.mark.parametrize("norm_type", [1, 2, 3])
def test_lp_pool2d_of_zeros_has_gradient_zero(norm_type):
    x = picture(0, (4, 4))
    x[:, :2, :2] = 0
    assert_twins_agree(*twins("LPPool2d", norm_type, 2), np.abs(x))


@grid
@given(sizes, outputs, outputs, seeds)
def test_adaptive_avg_pool2d(size, height, width, seed):
    ours, theirs = twins("AdaptiveAvgPool2d", (height, width))
    assert_twins_agree(ours, theirs, picture(seed, size), seed=seed)


@grid
@given(sizes, outputs, outputs, st.booleans(), st.booleans(), seeds)
def test_adaptive_max_pool2d(size, height, width, indices, integers, seed):
    ours, theirs = twins("AdaptiveMaxPool2d", (height, width), indices)
    assert_twins_agree(ours, theirs, picture(seed, size, integers=integers), second=True, seed=seed)
