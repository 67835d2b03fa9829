"""RNN, LSTM, GRU and GRUCell beside torch's: layers, directions, states, lengths, without a batch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from flax_models import layers
from tests.agreement import assert_pair_agrees
from tests.compilation import QUICK
from tests.flax_models.layers.layer_pairs import build, layer_pair, seeds, torch_layer
from tests.pairs import Pair

KINDS = {
    "tanh": ("RNN", {"nonlinearity": "tanh"}), "relu": ("RNN", {"nonlinearity": "relu"}),
    "LSTM": ("LSTM", {}), "GRU": ("GRU", {}),
}  # fmt: skip
names = pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
cells = st.sampled_from(sorted(KINDS))


def inputs(rng, name, shape, hidden, layers, directions, batch_first, with_state):
    """x, then h and (for an LSTM) c where a state is wanted."""
    x = rng.normal(size=shape)
    batch = () if len(shape) == 2 else (shape[0 if batch_first else 1],)
    states = (2 if name == "LSTM" else 1) if with_state else 0
    return x, *(rng.normal(size=(layers * directions, *batch, hidden)) for _ in range(states))


def call(layer, x, *hx):
    return layer(x, (hx if len(hx) == 2 else hx[0]) if hx else None)


@given(cells, st.integers(1, 3), st.integers(1, 3), st.integers(1, 2), st.booleans(), st.booleans(),
       st.booleans(), st.sampled_from([(3, 2), (1, 2), (2, 1), (3,)]), st.booleans(), seeds)  # fmt: skip
def test_agrees(kind, features, hidden, depth, bias, batch_first, both_ways, leading, with_state, seed):
    name, options = KINDS[kind]
    options = options | {"bias": bias, "batch_first": batch_first, "bidirectional": both_ways}
    pair = layer_pair(name, features, hidden, depth, seed=seed, **options)
    rng = np.random.default_rng(seed)
    x = inputs(rng, name, (*leading, features), hidden, depth, 1 + both_ways, batch_first, with_state)
    assert_pair_agrees(pair, *x, ours_call=call, theirs_call=call, images=False, seed=seed)


@given(cells, st.integers(1, 2), st.booleans(), st.booleans(),
       st.lists(st.integers(1, 4), min_size=1, max_size=3), st.booleans(), seeds)  # fmt: skip
def test_lengths_are_torchs_packed_sequences(kind, depth, batch_first, both_ways, lengths, with_state, seed):
    name, options = KINDS[kind]
    pair = layer_pair(
        name, 2, 3, depth, batch_first=batch_first, bidirectional=both_ways, seed=seed, **options
    )
    shape = (len(lengths), 4, 2) if batch_first else (4, len(lengths), 2)
    x = inputs(np.random.default_rng(seed), name, shape, 3, depth, 1 + both_ways, batch_first, with_state)

    def packed(layer, x, *hx):
        sequence = pack_padded_sequence(x, torch.tensor(lengths), batch_first, enforce_sorted=False)
        y, state = call(layer, sequence, *hx)
        return pad_packed_sequence(y, batch_first, total_length=4)[0], state

    def with_lengths(layer, x, *hx):
        return call(lambda x, hx: layer(x, hx, lengths=jnp.asarray(lengths)), x, *hx)

    assert_pair_agrees(pair, *x, ours_call=with_lengths, theirs_call=packed, images=False, seed=seed)


@given(
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([(), (1,), (3,)]),
    st.booleans(),
    seeds,
)
def test_a_cell_agrees(features, hidden, bias, batch, with_state, seed):
    pair, rng = layer_pair("GRUCell", features, hidden, bias, seed=seed), np.random.default_rng(seed)
    shapes = [(*batch, features), (*batch, hidden)][: 1 + with_state]
    assert_pair_agrees(pair, *(rng.normal(size=shape) for shape in shapes), images=False, seed=seed)


@names
def test_padding_of_nan_reaches_nothing(name):
    ours = layer_pair(name, 2, 3, bidirectional=True).ours
    x = np.ones((4, 2, 2))
    x[2:, 1] = np.nan

    def outputs_and_gradients(x):
        y, pull = jax.vjp(lambda x: ours(x, lengths=jnp.array([4, 2])), x)
        return y, pull(y)

    with jax.enable_x64(True):
        for leaf in jax.tree.leaves(jax.jit(outputs_and_gradients, compiler_options=QUICK)(x)):
            assert np.isfinite(leaf).all()


def test_dropout_of_everything_between_layers():
    """p = 1 is a dropout that needs no common randomness."""
    theirs = torch_layer("LSTM", 2, 3, 2, dropout=1.0).double()
    ours, alike = layer_pair("LSTM", 2, 3, 2, seed=1)
    theirs.load_state_dict(alike.state_dict())
    ours.dropout = layers.Dropout(1.0, rngs=nnx.Rngs(0))
    pair = Pair(ours, theirs)
    x = np.random.default_rng(0).normal(size=(4, 2, 2))
    assert_pair_agrees(pair, x, images=False)
    pair.set_training(False)
    assert_pair_agrees(pair, x, images=False)


def test_dropout_draws_anew_in_training_only():
    def twice(x, deterministic):
        layer = build("LSTM", 2, 8, 2, dropout=0.5, param_dtype=jnp.float32)
        layer.set_attributes(deterministic=deterministic)
        return layer(x)[0], layer(x)[0]

    compiled = jax.jit(twice, static_argnums=1, compiler_options=QUICK)
    assert not np.array_equal(*compiled(jnp.ones((3, 2, 2)), False))
    np.testing.assert_array_equal(*compiled(jnp.ones((3, 2, 2)), True))


@names
def test_initialisation_is_torchs(name):
    def initialise():
        return nnx.to_pure_dict(nnx.state(build(name, 7, 16, bidirectional=True, param_dtype=jnp.float32)))

    leaves = jax.jit(initialise, compiler_options=QUICK)()
    for leaf, _ in torch_layer(name, 7, 16, bidirectional=True).named_parameters():
        assert 0.8 / 4 < np.abs(leaves[leaf]).max() <= 1 / 4
