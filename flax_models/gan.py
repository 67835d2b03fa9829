"""Convolutional adversarial networks: one root module with the children `generator` and `discriminator`.

dcgan, wgan, wgan_gp: after Radford, Metz & Chintala, "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks" (2016), in the form that PyTorch courses teach: batch norm
follows the ReLU, and the discriminator has no batch norm. cgan: the same with the class as a further input
(Mirza & Osindero, "Conditional Generative Adversarial Nets", 2014). dcgan64: the paper's own form for 64x64
images, as in PyTorch's example.

A generator's `latent_shape` is the shape of one latent.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from flax_models import layers as nn


class DCGANGenerator(nnx.Module):
    """Latents (N, latent_features), uniform in [-1, 1] -> images (N, 28, 28, 1) in [-1, 1]."""

    def __init__(self, latent_features: int, hidden_features: int, channels: int, *, rngs: nnx.Rngs):
        self.latent_shape = (latent_features,)
        self.fc = nn.Sequential(
            nn.Linear(latent_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.BatchNorm1d(hidden_features),
            nn.Linear(hidden_features, 2 * channels * 7 * 7, rngs=rngs),
            nn.ReLU(),
            nn.BatchNorm1d(2 * channels * 7 * 7),
            nn.Unflatten(1, (2 * channels, 7, 7)),  # (N, 7, 7, 128)
        )
        self.conv = nn.Sequential(
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1, rngs=rngs),
            nn.ReLU(),
            nn.BatchNorm2d(channels),  # (N, 14, 14, 64)
            nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1, rngs=rngs),
            nn.Tanh(),  # (N, 28, 28, 1)
        )

    def __call__(self, latent: jax.Array) -> jax.Array:
        return self.conv(self.fc(latent))


class DCGANDiscriminator(nnx.Module):
    """Images (N, 28, 28, in_channels) in [-1, 1] -> logits (N, 1), high for real images."""

    def __init__(self, hidden_features: int, channels: int, in_channels: int = 1, *, rngs: nnx.Rngs):
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, channels // 2, 5, rngs=rngs),
            nn.LeakyReLU(0.01),
            nn.MaxPool2d(2),  # (N, 12, 12, 32)
            nn.Conv2d(channels // 2, channels, 5, rngs=rngs),
            nn.LeakyReLU(0.01),
            nn.MaxPool2d(2),  # (N, 4, 4, 64)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * 4 * 4, hidden_features, rngs=rngs),
            nn.LeakyReLU(0.01),
            nn.Linear(hidden_features, 1, rngs=rngs),
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.fc(self.conv(images))


class DCGAN(nnx.Module):
    """Generator and discriminator for 28x28x1 images; the options set the widths."""

    def __init__(
        self, latent_features: int = 96, hidden_features: int = 1024, channels: int = 64, *, rngs: nnx.Rngs
    ):
        self.generator = DCGANGenerator(latent_features, hidden_features, channels, rngs=rngs)
        self.discriminator = DCGANDiscriminator(hidden_features, channels, rngs=rngs)


class ConditionalGenerator(nnx.Module):
    """Latents (N, latent_features) and classes (N,) -> images (N, 28, 28, 1) in [-1, 1].

    The latent is multiplied by an embedding of the class, as in Odena et al., "Conditional Image Synthesis
    with Auxiliary Classifier GANs" (2017). When the embedding was concatenated to the latent, the generator
    ignored the latent: on the embedded digits it made one image per class.
    """

    def __init__(
        self, num_classes: int, latent_features: int, hidden_features: int, channels: int, *, rngs: nnx.Rngs
    ):
        self.latent_shape = (latent_features,)
        self.embedding = nn.Embedding(num_classes, latent_features, rngs=rngs)
        self.body = DCGANGenerator(latent_features, hidden_features, channels, rngs=rngs)

    def __call__(self, latent: jax.Array, labels: jax.Array) -> jax.Array:
        return self.body(latent * self.embedding(labels))


class ConditionalDiscriminator(nnx.Module):
    """Images (N, 28, 28, 1) in [-1, 1] and classes (N,) -> logits (N, 1), high for real images of that class.

    The second input channel is an embedding of the class, 28x28 numbers.
    """

    def __init__(self, num_classes: int, hidden_features: int, channels: int, *, rngs: nnx.Rngs):
        self.embedding = nn.Embedding(num_classes, 784, rngs=rngs)
        self.plane = nn.Unflatten(1, (1, 28, 28))
        self.body = DCGANDiscriminator(hidden_features, channels, in_channels=2, rngs=rngs)

    def __call__(self, images: jax.Array, labels: jax.Array) -> jax.Array:
        return self.body(jnp.concatenate([images, self.plane(self.embedding(labels))], axis=-1))


class CGAN(nnx.Module):
    """DCGAN with the class as a further input of both generator and discriminator."""

    def __init__(
        self, num_classes: int = 10, latent_features: int = 96, hidden_features: int = 1024,
        channels: int = 64, *, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.generator = ConditionalGenerator(
            num_classes, latent_features, hidden_features, channels, rngs=rngs
        )
        self.discriminator = ConditionalDiscriminator(num_classes, hidden_features, channels, rngs=rngs)


class DCGAN64Generator(nnx.Module):
    """Latents (N, 1, 1, latent_features), N(0, 1) -> images (N, 64, 64, 3) in [-1, 1]."""

    def __init__(self, latent_features: int, channels: int, *, rngs: nnx.Rngs):
        self.latent_shape = (1, 1, latent_features)
        wide = {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False, "rngs": rngs}
        self.main = nn.Sequential(
            nn.ConvTranspose2d(latent_features, 8 * channels, 4, bias=False, rngs=rngs),
            nn.BatchNorm2d(8 * channels),
            nn.ReLU(),  # (N, 4, 4, 512)
            nn.ConvTranspose2d(8 * channels, 4 * channels, **wide),
            nn.BatchNorm2d(4 * channels),
            nn.ReLU(),  # (N, 8, 8, 256)
            nn.ConvTranspose2d(4 * channels, 2 * channels, **wide),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),  # (N, 16, 16, 128)
            nn.ConvTranspose2d(2 * channels, channels, **wide),
            nn.BatchNorm2d(channels),
            nn.ReLU(),  # (N, 32, 32, 64)
            nn.ConvTranspose2d(channels, 3, **wide),
            nn.Tanh(),  # (N, 64, 64, 3)
        )

    def __call__(self, latent: jax.Array) -> jax.Array:
        return self.main(latent)


class DCGAN64Discriminator(nnx.Module):
    """Images (N, 64, 64, 3) in [-1, 1] -> probabilities (N, 1) of being real."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        wide = {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False, "rngs": rngs}
        self.main = nn.Sequential(
            nn.Conv2d(3, channels, **wide),
            nn.LeakyReLU(0.2),  # (N, 32, 32, 64)
            nn.Conv2d(channels, 2 * channels, **wide),
            nn.BatchNorm2d(2 * channels),
            nn.LeakyReLU(0.2),  # (N, 16, 16, 128)
            nn.Conv2d(2 * channels, 4 * channels, **wide),
            nn.BatchNorm2d(4 * channels),
            nn.LeakyReLU(0.2),  # (N, 8, 8, 256)
            nn.Conv2d(4 * channels, 8 * channels, **wide),
            nn.BatchNorm2d(8 * channels),
            nn.LeakyReLU(0.2),  # (N, 4, 4, 512)
            nn.Conv2d(8 * channels, 1, 4, bias=False, rngs=rngs),
            nn.Sigmoid(),
            nn.Flatten(),  # (N, 1)
        )

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.main(images)


class DCGAN64(nnx.Module):
    """The paper's DCGAN for 64x64x3 images, without biases.

    initial_std: the weights of convolutions are initialised from N(0, initial_std^2), those of batch norm
    from N(1, initial_std^2).
    """

    def __init__(
        self, latent_features: int = 100, channels: int = 64, initial_std: float = 0.02, *, rngs: nnx.Rngs
    ):
        self.generator = DCGAN64Generator(latent_features, channels, rngs=rngs)
        self.discriminator = DCGAN64Discriminator(channels, rngs=rngs)
        modules = [module for _, module in nnx.iter_modules(self)]
        for kinds, mean in (((nn.Conv2d, nn.ConvTranspose2d), 0.0), ((nn.BatchNorm2d,), 1.0)):
            drawn = [module for module in modules if isinstance(module, kinds)]
            nn.init.redraw(drawn, nn.init.normal(mean, initial_std), lambda shape: 1, rngs)


MODELS = {
    "dcgan": DCGAN,
    "wgan": DCGAN,
    "wgan_gp": DCGAN,
    "cgan": CGAN,
    "dcgan64": DCGAN64,
}
