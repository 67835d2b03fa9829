"""Linear, Maxout and the reshapes around them, beside torch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flax_models import layers
from tests.agreement import assert_pair_agrees
from tests.flax_models.layers.layer_pairs import layer_pair, seeds
from torch_models.layers import Maxout

leading = st.sampled_from([(), (3,), (2, 3)])


@given(leading, st.integers(1, 4), st.integers(1, 4), st.booleans(), seeds)
def test_linear(leading, in_features, out_features, bias, seed):
    x = np.random.default_rng(seed).normal(size=(*leading, in_features))
    assert_pair_agrees(
        layer_pair("Linear", in_features, out_features, bias, seed=seed), x, images=False, second=True
    )


@given(leading, st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), seeds, st.booleans())
def test_maxout(leading, in_features, out_features, pieces, seed, ties):
    pair = layer_pair("Maxout", in_features, out_features, pieces, seed=seed)
    if ties:  # every piece the same
        pair.theirs.weight.data[:], pair.theirs.bias.data[:] = 0.5, 0.25
        with jax.enable_x64(True):
            pair.ours.weight.set_value(jnp.full(pair.ours.weight.shape, 0.5))
            pair.ours.bias.set_value(jnp.full(pair.ours.bias.shape, 0.25))
    x = np.random.default_rng(seed).normal(size=(*leading, in_features))
    assert_pair_agrees(pair, x, images=False)


def test_maxout_of_torch_scripts():
    layer = Maxout(3, 4, 2)
    x = torch.randn(5, 3)
    torch.testing.assert_close(torch.jit.script(layer)(x), layer(x))
    assert layer(x).shape == (5, 4)


@pytest.mark.parametrize("shape", [(2, 3), (2, 5, 3), (2, 4, 5, 3)])
def test_flatten_goes_through_torchs_order(shape):
    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    expected = torch.flatten(torch.tensor(np.moveaxis(x, -1, 1)), 1)
    np.testing.assert_array_equal(layers.Flatten()(jnp.asarray(x)), expected)
    size = (shape[-1], *shape[1:-1])
    if len(shape) > 2:
        np.testing.assert_array_equal(layers.Unflatten(1, size)(jnp.asarray(expected.numpy())), x)
