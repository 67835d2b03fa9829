"""Linear, Maxout and the reshapes around them, beside torch's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from flax_models import layers
from tests.layer_twins import assert_twins_agree, grid, seeds, twins
from torch_models.layers import Maxout

leading = st.sampled_from([(), (3,), (2, 3)])


@grid
@given(leading, st.integers(1, 4), st.integers(1, 4), st.booleans(), seeds)
def test_linear(leading, in_features, out_features, bias, seed):
    x = np.random.default_rng(seed).normal(size=(*leading, in_features))
    assert_twins_agree(
        *twins("Linear", in_features, out_features, bias, seed=seed), x, pictures=False, second=True
    )


@grid
@given(leading, st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), seeds, st.booleans())
def test_maxout(leading, in_features, out_features, pieces, seed, ties):
    ours, theirs = twins("Maxout", in_features, out_features, pieces, seed=seed)
    if ties:  # every piece the same
        theirs.weight.data[:], theirs.bias.data[:] = 0.5, 0.25
        with jax.enable_x64(True):
            ours.weight.set_value(jnp.full(ours.weight.shape, 0.5))
            ours.bias.set_value(jnp.full(ours.bias.shape, 0.25))
    x = np.random.default_rng(seed).normal(size=(*leading, in_features))
    assert_twins_agree(ours, theirs, x, pictures=False)


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
