"""Convolutional adversarial networks: one root module with the children `generator` and `discriminator`.

dcgan, wgan, wgan_gp: after Radford, Metz & Chintala, "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks" (2016), in the form that PyTorch courses teach: batch norm
after the ReLU, none in the discriminator. cgan: the same, told the class (Mirza & Osindero, "Conditional
Generative Adversarial Nets", 2014). dcgan64: the paper's own form, for 64x64 pictures, as PyTorch's example
has it.

A generator's `noise_shape` is the shape of one example of its noise.
"""

import jax.numpy as jnp
from flax import nnx

from flax_models import layers as nn


class DCGANGenerator(nnx.Module):
    """Noise (N, noise_features), uniform in [-1, 1] -> images (N, 28, 28, 1) in [-1, 1]."""

    def __init__(self, noise_features: int, hidden_features: int, channels: int, *, rngs: nnx.Rngs):
        self.noise_shape = (noise_features,)
        self.fc = nn.Sequential(
            nn.Linear(noise_features, hidden_features, rngs=rngs),
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

    def __call__(self, noise):
        return self.conv(self.fc(noise))


class DCGANDiscriminator(nnx.Module):
    """Images (N, 28, 28, in_channels) in [-1, 1] -> logits (N, 1), high for real."""

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

    def __call__(self, images):
        return self.fc(self.conv(images))


class DCGAN(nnx.Module):
    """Generator and discriminator for 28x28x1 images; the options scale the widths."""

    def __init__(
        self, noise_features: int = 96, hidden_features: int = 1024, channels: int = 64, *, rngs: nnx.Rngs
    ):
        self.generator = DCGANGenerator(noise_features, hidden_features, channels, rngs=rngs)
        self.discriminator = DCGANDiscriminator(hidden_features, channels, rngs=rngs)


class ConditionalGenerator(nnx.Module):
    """Noise (N, noise_features) and classes (N,) -> images (N, 28, 28, 1) in [-1, 1].

    The class goes in as an embedding that the noise is multiplied by, as in Odena et al., "Conditional Image
    Synthesis with Auxiliary Classifier GANs" (2017). Joined to the noise instead, the generator left
    the noise aside: on the embedded digits every class became one picture.
    """

    def __init__(
        self, num_classes: int, noise_features: int, hidden_features: int, channels: int, *, rngs: nnx.Rngs
    ):
        self.noise_shape = (noise_features,)
        self.embedding = nn.Embedding(num_classes, noise_features, rngs=rngs)
        self.body = DCGANGenerator(noise_features, hidden_features, channels, rngs=rngs)

    def __call__(self, noise, labels):
        return self.body(noise * self.embedding(labels))


class ConditionalDiscriminator(nnx.Module):
    """Images (N, 28, 28, 1) in [-1, 1] and classes (N,) -> logits (N, 1), high for real and of that class.

    The class goes in as an embedding of 28x28 numbers, the second channel.
    """

    def __init__(self, num_classes: int, hidden_features: int, channels: int, *, rngs: nnx.Rngs):
        self.embedding = nn.Embedding(num_classes, 784, rngs=rngs)
        self.plane = nn.Unflatten(1, (1, 28, 28))
        self.body = DCGANDiscriminator(hidden_features, channels, in_channels=2, rngs=rngs)

    def __call__(self, images, labels):
        return self.body(jnp.concatenate([images, self.plane(self.embedding(labels))], axis=-1))


class CGAN(nnx.Module):
    """DCGAN, both halves of which are told the class."""

    def __init__(
        self, num_classes: int = 10, noise_features: int = 96, hidden_features: int = 1024,
        channels: int = 64, *, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.generator = ConditionalGenerator(
            num_classes, noise_features, hidden_features, channels, rngs=rngs
        )
        self.discriminator = ConditionalDiscriminator(num_classes, hidden_features, channels, rngs=rngs)


class DCGAN64Generator(nnx.Module):
    """Noise (N, 1, 1, noise_features), N(0, 1) -> images (N, 64, 64, 3) in [-1, 1]."""

    def __init__(self, noise_features: int, channels: int, *, rngs: nnx.Rngs):
        self.noise_shape = (1, 1, noise_features)
        wide = {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False, "rngs": rngs}
        self.main = nn.Sequential(
            nn.ConvTranspose2d(noise_features, 8 * channels, 4, bias=False, rngs=rngs),
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

    def __call__(self, noise):
        return self.main(noise)


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

    def __call__(self, images):
        return self.main(images)


class DCGAN64(nnx.Module):
    """The paper's DCGAN for 64x64x3 images, without biases.

    initial_std: convolutions begin at N(0, initial_std^2), scales of batch norm at N(1, initial_std^2).
    """

    def __init__(
        self, noise_features: int = 100, channels: int = 64, initial_std: float = 0.02, *, rngs: nnx.Rngs
    ):
        self.generator = DCGAN64Generator(noise_features, channels, rngs=rngs)
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
