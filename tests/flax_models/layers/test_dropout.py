"""Dropout and Dropout2d: torch's arithmetic under a given mask, and torch's statistics under a drawn one."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from tests.agreement import assert_pair_agrees
from tests.flax_models.layers.layer_pairs import build, layer_pair, seeds


@given(st.sampled_from(["Dropout", "Dropout2d"]), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), seeds)
def test_under_a_mask(name, p, seed):
    """Torch takes no mask: its own is read off from where its output is zero, x having no zeros."""
    pair = layer_pair(name, p)
    x = np.random.default_rng(seed).uniform(1, 2, (2, 3, 2, 4))
    kept = []

    def theirs_call(layer, t):
        y = layer(t)
        kept.append(np.moveaxis(y.detach().numpy() != 0, 1, -1))
        if name == "Dropout2d":
            kept[0] = kept[0][:, :1, :1]
        return y

    assert_pair_agrees(
        pair,
        x,
        theirs_call=theirs_call,
        ours_call=lambda layer, x: layer(x, mask=jnp.asarray(kept[0])),
    )


@pytest.mark.parametrize(("name", "mask_shape"), [("Dropout", (50, 4, 5, 40)), ("Dropout2d", (50, 1, 1, 40))])
def test_drawn_masks(name, mask_shape):
    layer = build(name, 0.3)
    x = jnp.ones((50, 4, 5, 40))
    first, second = np.asarray(layer(x)), np.asarray(layer(x))
    assert not np.array_equal(first, second)
    kept = first[:, : mask_shape[1], : mask_shape[2]] != 0
    np.testing.assert_allclose(first, np.broadcast_to(kept / 0.7, x.shape), rtol=1e-6)
    assert abs(kept.mean() - 0.7) < 0.03
    layer.eval()
    assert layer(x) is x


def test_a_stream_of_its_own():
    assert not np.array_equal(
        build("Dropout", rngs=nnx.Rngs(dropout=1))(jnp.ones(50)),
        build("Dropout", rngs=nnx.Rngs(dropout=2))(jnp.ones(50)),
    )
