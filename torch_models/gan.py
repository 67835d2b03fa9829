"""Convolutional adversarial networks: one root module with the children `generator` and `discriminator`.

dcgan, wgan, wgan_gp: after Radford, Metz & Chintala, "Unsupervised Representation Learning with Deep
Convolutional Generative Adversarial Networks" (2016), in the form that PyTorch courses teach: batch norm
follows the ReLU, and the discriminator has no batch norm. cgan: the same with the class as a further input
(Mirza & Osindero, "Conditional Generative Adversarial Nets", 2014). dcgan64: the paper's own form for 64x64
images, as in PyTorch's example.

A generator's `latent_shape` is the shape of one latent.
"""

import torch
from torch import Tensor, nn


class DCGANGenerator(nn.Module):
    """Latents (N, latent_features), uniform in [-1, 1] -> images (N, 1, 28, 28) in [-1, 1]."""

    def __init__(self, latent_features: int, hidden_features: int, channels: int):
        super().__init__()
        self.latent_shape = (latent_features,)
        self.fc = nn.Sequential(
            nn.Linear(latent_features, hidden_features),
            nn.ReLU(),
            nn.BatchNorm1d(hidden_features),
            nn.Linear(hidden_features, 2 * channels * 7 * 7),
            nn.ReLU(),
            nn.BatchNorm1d(2 * channels * 7 * 7),
            nn.Unflatten(1, (2 * channels, 7, 7)),  # (N, 128, 7, 7)
        )
        self.conv = nn.Sequential(
            nn.ConvTranspose2d(2 * channels, channels, 4, stride=2, padding=1),
            nn.ReLU(),
            nn.BatchNorm2d(channels),  # (N, 64, 14, 14)
            nn.ConvTranspose2d(channels, 1, 4, stride=2, padding=1),
            nn.Tanh(),  # (N, 1, 28, 28)
        )

    def forward(self, latent: Tensor) -> Tensor:
        return self.conv(self.fc(latent))


class DCGANDiscriminator(nn.Module):
    """Images (N, in_channels, 28, 28) in [-1, 1] -> logits (N, 1), high for real images."""

    def __init__(self, hidden_features: int, channels: int, in_channels: int = 1):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(in_channels, channels // 2, 5),
            nn.LeakyReLU(0.01),
            nn.MaxPool2d(2),  # (N, 32, 12, 12)
            nn.Conv2d(channels // 2, channels, 5),
            nn.LeakyReLU(0.01),
            nn.MaxPool2d(2),  # (N, 64, 4, 4)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * 4 * 4, hidden_features),
            nn.LeakyReLU(0.01),
            nn.Linear(hidden_features, 1),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.conv(images))


class DCGAN(nn.Module):
    """Generator and discriminator for 1x28x28 images; the options set the widths."""

    def __init__(self, latent_features: int = 96, hidden_features: int = 1024, channels: int = 64):
        super().__init__()
        self.generator = DCGANGenerator(latent_features, hidden_features, channels)
        self.discriminator = DCGANDiscriminator(hidden_features, channels)


class ConditionalGenerator(nn.Module):
    """Latents (N, latent_features) and classes (N,) -> images (N, 1, 28, 28) in [-1, 1].

    The latent is multiplied by an embedding of the class, as in Odena et al., "Conditional Image Synthesis
    with Auxiliary Classifier GANs" (2017). When the embedding was concatenated to the latent, the generator
    ignored the latent: on the embedded digits it made one image per class.
    """

    def __init__(self, num_classes: int, latent_features: int, hidden_features: int, channels: int):
        super().__init__()
        self.latent_shape = (latent_features,)
        self.embedding = nn.Embedding(num_classes, latent_features)
        self.body = DCGANGenerator(latent_features, hidden_features, channels)

    def forward(self, latent: Tensor, labels: Tensor) -> Tensor:
        return self.body(latent * self.embedding(labels))


class ConditionalDiscriminator(nn.Module):
    """Images (N, 1, 28, 28) in [-1, 1] and classes (N,) -> logits (N, 1), high for real images of that class.

    The second input channel is an embedding of the class, 28x28 numbers.
    """

    def __init__(self, num_classes: int, hidden_features: int, channels: int):
        super().__init__()
        self.embedding = nn.Embedding(num_classes, 784)
        self.plane = nn.Unflatten(1, (1, 28, 28))
        self.body = DCGANDiscriminator(hidden_features, channels, in_channels=2)

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.body(torch.cat([images, self.plane(self.embedding(labels))], dim=1))


class CGAN(nn.Module):
    """DCGAN with the class as a further input of both generator and discriminator."""

    def __init__(
        self, num_classes: int = 10, latent_features: int = 96, hidden_features: int = 1024,
        channels: int = 64,
    ):  # fmt: skip
        super().__init__()
        self.generator = ConditionalGenerator(num_classes, latent_features, hidden_features, channels)
        self.discriminator = ConditionalDiscriminator(num_classes, hidden_features, channels)


class DCGAN64Generator(nn.Module):
    """Latents (N, latent_features, 1, 1), N(0, 1) -> images (N, 3, 64, 64) in [-1, 1]."""

    def __init__(self, latent_features: int, channels: int):
        super().__init__()
        self.latent_shape = (latent_features, 1, 1)
        wide = {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False}
        self.main = nn.Sequential(
            nn.ConvTranspose2d(latent_features, 8 * channels, 4, bias=False),
            nn.BatchNorm2d(8 * channels),
            nn.ReLU(),  # (N, 512, 4, 4)
            nn.ConvTranspose2d(8 * channels, 4 * channels, **wide),
            nn.BatchNorm2d(4 * channels),
            nn.ReLU(),  # (N, 256, 8, 8)
            nn.ConvTranspose2d(4 * channels, 2 * channels, **wide),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),  # (N, 128, 16, 16)
            nn.ConvTranspose2d(2 * channels, channels, **wide),
            nn.BatchNorm2d(channels),
            nn.ReLU(),  # (N, 64, 32, 32)
            nn.ConvTranspose2d(channels, 3, **wide),
            nn.Tanh(),  # (N, 3, 64, 64)
        )

    def forward(self, latent: Tensor) -> Tensor:
        return self.main(latent)


class DCGAN64Discriminator(nn.Module):
    """Images (N, 3, 64, 64) in [-1, 1] -> probabilities (N, 1) of being real."""

    def __init__(self, channels: int):
        super().__init__()
        wide = {"kernel_size": 4, "stride": 2, "padding": 1, "bias": False}
        self.main = nn.Sequential(
            nn.Conv2d(3, channels, **wide),
            nn.LeakyReLU(0.2),  # (N, 64, 32, 32)
            nn.Conv2d(channels, 2 * channels, **wide),
            nn.BatchNorm2d(2 * channels),
            nn.LeakyReLU(0.2),  # (N, 128, 16, 16)
            nn.Conv2d(2 * channels, 4 * channels, **wide),
            nn.BatchNorm2d(4 * channels),
            nn.LeakyReLU(0.2),  # (N, 256, 8, 8)
            nn.Conv2d(4 * channels, 8 * channels, **wide),
            nn.BatchNorm2d(8 * channels),
            nn.LeakyReLU(0.2),  # (N, 512, 4, 4)
            nn.Conv2d(8 * channels, 1, 4, bias=False),
            nn.Sigmoid(),
            nn.Flatten(),  # (N, 1)
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.main(images)


class DCGAN64(nn.Module):
    """The paper's DCGAN for 3x64x64 images, without biases.

    initial_std: the weights of convolutions are initialised from N(0, initial_std^2), those of batch norm
    from N(1, initial_std^2).
    """

    def __init__(self, latent_features: int = 100, channels: int = 64, initial_std: float = 0.02):
        super().__init__()
        self.generator = DCGAN64Generator(latent_features, channels)
        self.discriminator = DCGAN64Discriminator(channels)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0.0, initial_std)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1.0, initial_std)


MODELS = {
    "dcgan": DCGAN,
    "wgan": DCGAN,
    "wgan_gp": DCGAN,
    "cgan": CGAN,
    "dcgan64": DCGAN64,
}
