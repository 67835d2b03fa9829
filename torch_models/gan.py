"""Adversarial networks: one root module with the children `generator` and `discriminator`.

dcgan: the convolutional GAN for 28x28 digits after Radford, Metz & Chintala, "Unsupervised
Representation Learning with Deep Convolutional Generative Adversarial Networks" (2016), in the
form that PyTorch courses teach: batch norm after the ReLU, none in the discriminator.
"""

from torch import Tensor, nn


class DCGANGenerator(nn.Module):
    """Noise (N, noise_features), uniform in [-1, 1] -> images (N, 1, 28, 28) in [-1, 1]."""

    def __init__(self, noise_features: int, hidden_features: int, channels: int):
        super().__init__()
        self.noise_features = noise_features
        self.fc = nn.Sequential(
            nn.Linear(noise_features, hidden_features),
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

    def forward(self, noise: Tensor) -> Tensor:
        return self.conv(self.fc(noise))


class DCGANDiscriminator(nn.Module):
    """Images (N, 1, 28, 28) in [-1, 1] -> logits (N, 1), high for real."""

    def __init__(self, hidden_features: int, channels: int):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, channels // 2, 5),
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
    """Generator and discriminator for 28x28x1 images; the options scale the widths."""

    def __init__(self, noise_features: int = 96, hidden_features: int = 1024, channels: int = 64):
        super().__init__()
        self.generator = DCGANGenerator(noise_features, hidden_features, channels)
        self.discriminator = DCGANDiscriminator(hidden_features, channels)


MODELS = {"dcgan": DCGAN}
