"""Autoencoders of 28x28 images: one root module with the children `encoder` and `decoder`.

autoencoder: multilayer perceptrons with a latent of three numbers, after Hinton & Salakhutdinov, "Reducing
the Dimensionality of Data with Neural Networks" (2006). conv_autoencoder: convolutions and transposed
convolutions, in the form that PyTorch courses teach. vae: Kingma & Welling, "Auto-Encoding Variational Bayes"
(2014), with a final tanh, for images in [-1, 1].

A model's `latent_shape` is the shape of the latent of one example; `variational` says whether the encoder
gives a distribution of latents.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from flax_models import layers as nn


class Autoencoder(nnx.Module):
    """Images (N, 28, 28, 1) in [-1, 1] -> (latents (N, latent_features), output).

    The output has the images' shape and range. The hidden widths are hidden_features, hidden_features / 2 and
    12.
    """

    def __init__(self, latent_features: int = 3, hidden_features: int = 128, *, rngs: nnx.Rngs):
        self.latent_shape = (latent_features,)
        self.variational = False
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features // 2, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features // 2, 12, rngs=rngs),
            nn.ReLU(),
            nn.Linear(12, latent_features, rngs=rngs),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_features, 12, rngs=rngs),
            nn.ReLU(),
            nn.Linear(12, hidden_features // 2, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features // 2, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, 28 * 28, rngs=rngs),
            nn.Tanh(),
            nn.Unflatten(1, (1, 28, 28)),  # (N, 28, 28, 1)
        )

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        latent = self.encoder(images)
        return latent, self.decoder(latent)


class ConvAutoencoder(nnx.Module):
    """Images (N, 28, 28, 1) in [-1, 1] -> (latents (N, 2, 2, latent_features), output).

    The output has the images' shape and range. The encoder ends with a ReLU and a max-pool, so no number of a
    latent is negative.
    """

    def __init__(self, latent_features: int = 8, *, rngs: nnx.Rngs):
        width = 2 * latent_features
        self.latent_shape = (2, 2, latent_features)
        self.variational = False
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=3, padding=1, rngs=rngs),  # (N, 10, 10, 16)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 5, 5, 16)
            nn.Conv2d(width, latent_features, 3, stride=2, padding=1, rngs=rngs),  # (N, 3, 3, 8)
            nn.ReLU(),
            nn.MaxPool2d(2, stride=1),  # (N, 2, 2, 8)
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(latent_features, width, 3, stride=2, rngs=rngs),  # (N, 5, 5, 16)
            nn.ReLU(),
            nn.ConvTranspose2d(width, latent_features, 5, stride=3, padding=1, rngs=rngs),  # (N, 15, 15, 8)
            nn.ReLU(),
            nn.ConvTranspose2d(latent_features, 1, 2, stride=2, padding=1, rngs=rngs),  # (N, 28, 28, 1)
            nn.Tanh(),
        )

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        latent = self.encoder(images)
        return latent, self.decoder(latent)


class VAEEncoder(nnx.Module):
    """Images (N, 28, 28, 1) -> (mean, logvar) of their latents' distributions, (N, latent_features) each."""

    def __init__(self, latent_features: int, hidden_features: int, *, rngs: nnx.Rngs):
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_features, rngs=rngs),
            nn.ReLU(),
        )
        self.mean = nn.Linear(hidden_features, latent_features, rngs=rngs)
        self.logvar = nn.Linear(hidden_features, latent_features, rngs=rngs)

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        hidden = self.hidden(images)
        return self.mean(hidden), self.logvar(hidden)


class VAE(nnx.Module):
    """Images (N, 28, 28, 1) in [-1, 1], eps (N, latent_features) from N(0, 1) -> (output, mean, logvar).

    The output has the images' shape and range. It is the decoded latent mean + eps * exp(logvar / 2).
    """

    def __init__(self, latent_features: int = 20, hidden_features: int = 400, *, rngs: nnx.Rngs):
        self.latent_shape = (latent_features,)
        self.variational = True
        self.encoder = VAEEncoder(latent_features, hidden_features, rngs=rngs)
        self.decoder = nn.Sequential(
            nn.Linear(latent_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, 28 * 28, rngs=rngs),
            nn.Tanh(),
            nn.Unflatten(1, (1, 28, 28)),  # (N, 28, 28, 1)
        )

    def __call__(self, images: jax.Array, eps: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
        mean, logvar = self.encoder(images)
        return self.decoder(mean + eps * jnp.exp(logvar / 2)), mean, logvar


MODELS = {"autoencoder": Autoencoder, "conv_autoencoder": ConvAutoencoder, "vae": VAE}
