"""Embedding beside torch's."""

import jax.numpy as jnp
import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.agreement import assert_pair_agrees
from tests.flax_models.layers.layer_pairs import build, layer_pair, seeds


@given(st.integers(1, 5), st.integers(1, 3), st.none() | st.integers(-5, 4),
       st.sampled_from([(), (4,), (2, 3)]), seeds)  # fmt: skip
def test_embedding(rows, features, padding_idx, shape, seed):
    if padding_idx is not None:
        padding_idx = max(-rows, min(rows - 1, padding_idx))
    pair = layer_pair("Embedding", rows, features, padding_idx, seed=seed)
    indices = np.random.default_rng(seed).integers(0, rows, shape)
    assert_pair_agrees(
        pair, ours_call=lambda layer: layer(jnp.asarray(indices)),
        theirs_call=lambda layer: layer(torch.tensor(indices)), images=False,
    )  # fmt: skip


def test_initialisation_is_standard_normal_with_a_zero_row():
    weight = np.asarray(build("Embedding", 500, 20, -2, param_dtype=jnp.float32).weight[...])
    assert not weight[498].any() and weight[[497, 499]].all()
    rest = np.delete(weight, 498, 0)
    assert abs(rest.mean()) < 0.03 and abs(rest.std() - 1) < 0.03


def test_an_index_outside_the_table_gives_nan():
    layer = build("Embedding", 3, 2, param_dtype=jnp.float32)
    rows = np.asarray(layer(jnp.array([0, 3, -1])))
    assert np.isfinite(rows[0]).all() and np.isnan(rows[1:]).all()
