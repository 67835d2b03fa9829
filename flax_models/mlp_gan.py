"""Adversarial multilayer perceptrons: one root module with the children `generator` and `discriminator`.

gan: Goodfellow et al., "Generative Adversarial Nets" (2014), in the form that PyTorch courses teach. lsgan:
the same with the loss of Mao et al., "Least Squares Generative Adversarial Networks" (2017). mlp_gan: a
generator with batch norm, after Linder-Norén's PyTorch-GAN. painter_gan: a generator of curves of 15 points,
after Zhou's tutorial.

A generator's `latent_shape` is the shape of one latent.
"""

import jax
from flax import nnx

from flax_models import layers as nn


class GANGenerator(nnx.Module):
    """Latents (N, latent_features), uniform in [-1, 1] -> images (N, 28, 28, 1) in [-1, 1]."""

    def __init__(self, latent_features: int, hidden_features: int, *, rngs: nnx.Rngs):
        self.latent_shape = (latent_features,)
        self.fc = nn.Sequential(
            nn.Linear(latent_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, 784, rngs=rngs),
            nn.Tanh(),
            nn.Unflatten(1, (1, 28, 28)),  # (N, 28, 28, 1)
        )

    def __call__(self, latent: jax.Array) -> jax.Array:
        return self.fc(latent)


class GANDiscriminator(nnx.Module):
    """Images (N, 28, 28, 1) in [-1, 1] -> logits (N, 1), high for real images."""

    def __init__(self, hidden_features: int, *, rngs: nnx.Rngs):
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, hidden_features, rngs=rngs),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_features, hidden_features, rngs=rngs),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_features, 1, rngs=rngs),
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.fc(images)


class GAN(nnx.Module):
    """Generator and discriminator for 28x28x1 images.

    The discriminator has a quarter of the generator's width.
    """

    def __init__(self, latent_features: int = 96, hidden_features: int = 1024, *, rngs: nnx.Rngs):
        self.generator = GANGenerator(latent_features, hidden_features, rngs=rngs)
        self.discriminator = GANDiscriminator(hidden_features // 4, rngs=rngs)


class MLPGANGenerator(nnx.Module):
    """Latents (N, latent_features), N(0, 1) -> images (N, 28, 28, 1) in [-1, 1].

    The eps of the batch norms is 0.8, as in the source. The source may have meant a momentum of 0.8.
    """

    def __init__(self, latent_features: int, hidden_features: int, *, rngs: nnx.Rngs):
        self.latent_shape = (latent_features,)
        n1, n2, n3, n4 = (hidden_features * factor for factor in (1, 2, 4, 8))
        self.fc = nn.Sequential(
            nn.Linear(latent_features, n1, rngs=rngs),
            nn.LeakyReLU(0.2),
            nn.Linear(n1, n2, rngs=rngs),
            nn.BatchNorm1d(n2, eps=0.8),
            nn.LeakyReLU(0.2),
            nn.Linear(n2, n3, rngs=rngs),
            nn.BatchNorm1d(n3, eps=0.8),
            nn.LeakyReLU(0.2),
            nn.Linear(n3, n4, rngs=rngs),
            nn.BatchNorm1d(n4, eps=0.8),
            nn.LeakyReLU(0.2),
            nn.Linear(n4, 784, rngs=rngs),
            nn.Tanh(),
            nn.Unflatten(1, (1, 28, 28)),  # (N, 28, 28, 1)
        )

    def __call__(self, latent: jax.Array) -> jax.Array:
        return self.fc(latent)


class MLPGANDiscriminator(nnx.Module):
    """Images (N, 28, 28, 1) in [-1, 1] -> probabilities (N, 1) of being real."""

    def __init__(self, hidden_features: int, *, rngs: nnx.Rngs):
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, 4 * hidden_features, rngs=rngs),
            nn.LeakyReLU(0.2),
            nn.Linear(4 * hidden_features, 2 * hidden_features, rngs=rngs),
            nn.LeakyReLU(0.2),
            nn.Linear(2 * hidden_features, 1, rngs=rngs),
            nn.Sigmoid(),
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.fc(images)


class MLPGAN(nnx.Module):
    """Generator of increasing and discriminator of decreasing width, for 28x28x1 images.

    hidden_features is the smallest width.
    """

    def __init__(self, latent_features: int = 100, hidden_features: int = 128, *, rngs: nnx.Rngs):
        self.generator = MLPGANGenerator(latent_features, hidden_features, rngs=rngs)
        self.discriminator = MLPGANDiscriminator(hidden_features, rngs=rngs)


class Painter(nnx.Module):
    """Latents (N, latent_features), N(0, 1) -> the heights of a curve (N, points)."""

    def __init__(self, points: int, latent_features: int, hidden_features: int, *, rngs: nnx.Rngs):
        self.latent_shape = (latent_features,)
        self.fc = nn.Sequential(
            nn.Linear(latent_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, points, rngs=rngs),
        )

    def __call__(self, latent: jax.Array) -> jax.Array:
        return self.fc(latent)


class Critic(nnx.Module):
    """The heights of a curve (N, points) -> the probability (N, 1) that it is real."""

    def __init__(self, points: int, hidden_features: int, *, rngs: nnx.Rngs):
        self.fc = nn.Sequential(
            nn.Linear(points, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, 1, rngs=rngs),
            nn.Sigmoid(),
        )

    def __call__(self, curves: jax.Array) -> jax.Array:
        return self.fc(curves)


class PainterGAN(nnx.Module):
    """Generator and discriminator for curves of `points` points."""

    def __init__(
        self, points: int = 15, latent_features: int = 5, hidden_features: int = 128, *, rngs: nnx.Rngs
    ):
        self.generator = Painter(points, latent_features, hidden_features, rngs=rngs)
        self.discriminator = Critic(points, hidden_features, rngs=rngs)


MODELS = {
    "gan": GAN,
    "lsgan": GAN,
    "mlp_gan": MLPGAN,
    "painter_gan": PainterGAN,
}
