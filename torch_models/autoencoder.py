"""Autoencoders of 28x28 images: one root module with the children `encoder` and `decoder`.

autoencoder: multilayer perceptrons with a latent of three numbers, after Hinton & Salakhutdinov, "Reducing
the Dimensionality of Data with Neural Networks" (2006). conv_autoencoder: convolutions and transposed
convolutions, in the form that PyTorch courses teach. vae: Kingma & Welling, "Auto-Encoding Variational Bayes"
(2014), with a final tanh, for images in [-1, 1].

A model's `latent_shape` is the shape of the latent of one example; `variational` says whether the encoder
gives a distribution of latents.
"""

import torch
from torch import Tensor, nn


class Autoencoder(nn.Module):
    """Images (N, 1, 28, 28) in [-1, 1] -> (latents (N, latent_features), output).

    The output has the images' shape and range. The hidden widths are hidden_features, hidden_features / 2 and
    12.
    """

    def __init__(self, latent_features: int = 3, hidden_features: int = 128):
        super().__init__()
        self.latent_shape = (latent_features,)
        self.variational = False
        self.encoder = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_features),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features // 2),
            nn.ReLU(),
            nn.Linear(hidden_features // 2, 12),
            nn.ReLU(),
            nn.Linear(12, latent_features),
        )
        self.decoder = nn.Sequential(
            nn.Linear(latent_features, 12),
            nn.ReLU(),
            nn.Linear(12, hidden_features // 2),
            nn.ReLU(),
            nn.Linear(hidden_features // 2, hidden_features),
            nn.ReLU(),
            nn.Linear(hidden_features, 28 * 28),
            nn.Tanh(),
            nn.Unflatten(1, (1, 28, 28)),  # (N, 1, 28, 28)
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        latent = self.encoder(images)
        return latent, self.decoder(latent)


class ConvAutoencoder(nn.Module):
    """Images (N, 1, 28, 28) in [-1, 1] -> (latents (N, latent_features, 2, 2), output).

    The output has the images' shape and range. The encoder ends with a ReLU and a max-pool, so no number of a
    latent is negative.
    """

    def __init__(self, latent_features: int = 8):
        super().__init__()
        width = 2 * latent_features
        self.latent_shape = (latent_features, 2, 2)
        self.variational = False
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=3, padding=1),  # (N, 16, 10, 10)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 16, 5, 5)
            nn.Conv2d(width, latent_features, 3, stride=2, padding=1),  # (N, 8, 3, 3)
            nn.ReLU(),
            nn.MaxPool2d(2, stride=1),  # (N, 8, 2, 2)
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(latent_features, width, 3, stride=2),  # (N, 16, 5, 5)
            nn.ReLU(),
            nn.ConvTranspose2d(width, latent_features, 5, stride=3, padding=1),  # (N, 8, 15, 15)
            nn.ReLU(),
            nn.ConvTranspose2d(latent_features, 1, 2, stride=2, padding=1),  # (N, 1, 28, 28)
            nn.Tanh(),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        latent = self.encoder(images)
        return latent, self.decoder(latent)


class VAEEncoder(nn.Module):
    """Images (N, 1, 28, 28) -> (mean, logvar) of their latents' distributions, (N, latent_features) each."""

    def __init__(self, latent_features: int, hidden_features: int):
        super().__init__()
        self.hidden = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_features),
            nn.ReLU(),
        )
        self.mean = nn.Linear(hidden_features, latent_features)
        self.logvar = nn.Linear(hidden_features, latent_features)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.hidden(images)
        return self.mean(hidden), self.logvar(hidden)


class VAE(nn.Module):
    """Images (N, 1, 28, 28) in [-1, 1], eps (N, latent_features) from N(0, 1) -> (output, mean, logvar).

    The output has the images' shape and range. It is the decoded latent mean + eps * exp(logvar / 2).
    """

    def __init__(self, latent_features: int = 20, hidden_features: int = 400):
        super().__init__()
        self.latent_shape = (latent_features,)
        self.variational = True
        self.encoder = VAEEncoder(latent_features, hidden_features)
        self.decoder = nn.Sequential(
            nn.Linear(latent_features, hidden_features),
            nn.ReLU(),
            nn.Linear(hidden_features, 28 * 28),
            nn.Tanh(),
            nn.Unflatten(1, (1, 28, 28)),  # (N, 1, 28, 28)
        )

    def forward(self, images: Tensor, eps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, logvar = self.encoder(images)
        return self.decoder(mean + eps * torch.exp(logvar / 2)), mean, logvar


MODELS = {"autoencoder": Autoencoder, "conv_autoencoder": ConvAutoencoder, "vae": VAE}
