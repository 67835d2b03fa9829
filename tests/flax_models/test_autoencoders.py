"""Autoencoders: the shapes of their layers, what the root returns, and how a latent is drawn."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from convert.summary import summarise
from tests.agreement import assert_pair_agrees
from tests.compilation import QUICK
from tests.pairs import model_pair

# What each layer with parameters, and each max-pool, puts out, as MODELS has it; channels last.
OUTPUTS = {
    "autoencoder": "784 128 64 12 3 | 12 64 128 784 28x28x1",
    "conv_autoencoder": "10x10x16 5x5x16 3x3x8 2x2x8 | 5x5x16 15x15x8 28x28x1",
    "vae": "784 400 20 20 | 400 784 28x28x1",
}


@pytest.mark.parametrize("model", OUTPUTS)
def test_layers_have_the_shapes_of_the_originals(model):
    rows = [row for row in summarise(model) if row.kind not in ("ReLU", "Tanh")]
    encoder = [row.flax_shape for row in rows if row.path.startswith("encoder")]
    decoder = [row.flax_shape for row in rows if row.path.startswith("decoder")]
    assert " ".join([*encoder, "|", *decoder]) == OUTPUTS[model]
    assert all(row.flax_parameters == row.torch_parameters for row in rows)


@pytest.mark.parametrize("model", ["autoencoder", "conv_autoencoder", "vae"])
def test_the_root_agrees_with_its_twin(model):
    """Outputs and every gradient at full size; the certificate calls encoder and decoder by themselves."""
    rng = np.random.default_rng(0)
    inputs = [rng.uniform(-1, 1, (3, 28, 28, 1))]
    if model == "vae":
        inputs.append(rng.standard_normal((3, 20)))
    pair = model_pair(model, options={})
    assert_pair_agrees(pair, *inputs)
    with jax.enable_x64(True):
        outputs = jax.jit(lambda inputs: pair.ours(*inputs), compiler_options=QUICK)(inputs)
    assert len(outputs) == len(inputs) + 1 and min(np.asarray(y).std() for y in outputs) > 0.01


def test_the_latent_of_a_vae_is_drawn_by_eps():
    model = model_pair("vae", dtype="float32").ours
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, (2, 28, 28, 1)), jnp.float32)
    eps = jnp.linspace(-2, 2, 40).reshape(2, 20)
    output, mean, logvar = model(images, eps)
    deviation = np.sqrt(np.exp(logvar))
    np.testing.assert_allclose(output, model.decoder(mean + eps * deviation), atol=1e-5)
    assert not np.allclose(output, model.decoder(mean), atol=1e-3)
