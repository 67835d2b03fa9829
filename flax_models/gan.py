"""Adversarial networks: one root module with the children `generator` and `discriminator`.

dcgan: the convolutional GAN for 28x28 digits after Radford, Metz & Chintala, "Unsupervised
Representation Learning with Deep Convolutional Generative Adversarial Networks" (2016), in the
form that PyTorch courses teach: batch norm after the ReLU, none in the discriminator.
"""

from flax import nnx

from flax_models import layers as nn


class DCGANGenerator(nnx.Module):
    """Noise (N, noise_features), uniform in [-1, 1] -> images (N, 28, 28, 1) in [-1, 1]."""

    def __init__(self, noise_features: int, hidden_features: int, channels: int, *, rngs: nnx.Rngs):
        self.noise_features = noise_features
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
    """Images (N, 28, 28, 1) in [-1, 1] -> logits (N, 1), high for real."""

    def __init__(self, hidden_features: int, channels: int, *, rngs: nnx.Rngs):
        self.conv = nn.Sequential(
            nn.Conv2d(1, channels // 2, 5, rngs=rngs),
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


MODELS = {"dcgan": DCGAN}
