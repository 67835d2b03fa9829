"""Upsample and the paddings beside torch's."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from flax_models.layers.ops import resize
from tests.agreement import assert_pair_agrees
from tests.flax_models.layers.layer_pairs import layer_pair, seeds

sides = st.integers(1, 6)
sizes = st.tuples(sides, sides)
scales = st.sampled_from([0.5, 0.7, 1.0, 1.3, 1.5, 2, 2.2, 3])


def mode_options(mode: str | bool | None) -> dict[str, Any]:
    """The arguments for "nearest", or for bilinear with this align_corners."""
    return {"mode": "nearest"} if mode == "nearest" else {"mode": "bilinear", "align_corners": mode}


def images(seed, size):
    return np.random.default_rng(seed).normal(size=(2, *size, 2))


@given(
    sizes, st.tuples(st.integers(1, 9), st.integers(1, 9)), st.sampled_from(["nearest", False, True]), seeds
)
def test_upsample_to_a_size(size, output, mode, seed):
    assert_pair_agrees(layer_pair("Upsample", output, **mode_options(mode)), images(seed, size))


@given(sizes, scales | st.tuples(scales, scales), st.sampled_from(["nearest", None, False, True]),
       st.sampled_from([None, False, True]), seeds)  # fmt: skip
def test_upsample_by_a_factor(size, factor, mode, recompute, seed):
    factors = factor if isinstance(factor, tuple) else (factor, factor)
    assume(min(int(n * f) for n, f in zip(size, factors, strict=True)) >= 1)
    pair = layer_pair("Upsample", None, factor, recompute_scale_factor=recompute, **mode_options(mode))
    assert_pair_agrees(pair, images(seed, size))


@pytest.mark.parametrize("size", range(1, 50))
def test_nearest_sources_are_torchs_in_float32(size):
    """Where float32 cannot hold H/OH exactly, floor(i * H/OH) comes out one lower: 2 -> 82, pixel 41."""
    pixels = torch.arange(size, dtype=torch.float32)[None, None, :, None]
    for output in range(1, 130):
        expected = torch.nn.functional.interpolate(pixels, (output, 1))[0, 0, :, 0].numpy()
        np.testing.assert_array_equal(resize.nearest_source(size, output, None), expected)
    for scale in (0.3, 0.7, 1.3, 1.7, 2.2, 2.99, 3.7):
        if int(size * scale):
            expected = torch.nn.functional.interpolate(pixels, scale_factor=(scale, 1.0))[0, 0, :, 0].numpy()
            np.testing.assert_array_equal(resize.nearest_source(size, len(expected), scale), expected)


@given(st.sampled_from(["ReflectionPad2d", "ZeroPad2d"]), st.tuples(st.integers(3, 6), st.integers(3, 6)),
       st.integers(0, 2) | st.tuples(*[st.integers(-1, 2)] * 4), seeds)  # fmt: skip
def test_padding(name, size, padding, seed):
    assert_pair_agrees(layer_pair(name, padding), images(seed, size))
