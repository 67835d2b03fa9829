"""Adversarial perceptrons: one root module with the children `generator` and `discriminator`.

gan: Goodfellow et al., "Generative Adversarial Nets" (2014), in the form that PyTorch courses teach. lsgan:
the same with the loss of Mao et al., "Least Squares Generative Adversarial Networks" (2017). mlp_gan: with
batch norm, after Linder-Norén's PyTorch-GAN. painter_gan: curves as 15 numbers, after Zhou's tutorial.

A generator's `noise_shape` is the shape of one example of its noise.
"""

from flax import nnx

from flax_models import layers as nn


class GANGenerator(nnx.Module):
    """Noise (N, noise_features), uniform in [-1, 1] -> images (N, 28, 28, 1) in [-1, 1]."""

    def __init__(self, noise_features: int, hidden_features: int, *, rngs: nnx.Rngs):
        self.noise_shape = (noise_features,)
        self.fc = nn.Sequential(
            nn.Linear(noise_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, 784, rngs=rngs),
            nn.Tanh(),
            nn.Unflatten(1, (1, 28, 28)),  # (N, 28, 28, 1)
        )

    def __call__(self, noise):
        return self.fc(noise)


class GANDiscriminator(nnx.Module):
    """Images (N, 28, 28, 1) in [-1, 1] -> logits (N, 1), high for real."""

    def __init__(self, hidden_features: int, *, rngs: nnx.Rngs):
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(784, hidden_features, rngs=rngs),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_features, hidden_features, rngs=rngs),
            nn.LeakyReLU(0.2),
            nn.Linear(hidden_features, 1, rngs=rngs),
        )

    def __call__(self, images):
        return self.fc(images)


class GAN(nnx.Module):
    """Perceptrons for 28x28x1 images; the discriminator is a quarter as wide as the generator."""

    def __init__(self, noise_features: int = 96, hidden_features: int = 1024, *, rngs: nnx.Rngs):
        self.generator = GANGenerator(noise_features, hidden_features, rngs=rngs)
        self.discriminator = GANDiscriminator(hidden_features // 4, rngs=rngs)


class MLPGANGenerator(nnx.Module):
    """Noise (N, noise_features), N(0, 1) -> images (N, 28, 28, 1) in [-1, 1].

    The eps of these batch norms is 0.8, as in the source, where a momentum may have been meant.
    """

    def __init__(self, noise_features: int, hidden_features: int, *, rngs: nnx.Rngs):
        self.noise_shape = (noise_features,)
        n1, n2, n3, n4 = (hidden_features * factor for factor in (1, 2, 4, 8))
        self.fc = nn.Sequential(
            nn.Linear(noise_features, n1, rngs=rngs),
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

    def __call__(self, noise):
        return self.fc(noise)


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

    def __call__(self, images):
        return self.fc(images)


class MLPGAN(nnx.Module):
    """Perceptrons that widen and narrow, for 28x28x1 images; hidden_features is the narrowest."""

    def __init__(self, noise_features: int = 100, hidden_features: int = 128, *, rngs: nnx.Rngs):
        self.generator = MLPGANGenerator(noise_features, hidden_features, rngs=rngs)
        self.discriminator = MLPGANDiscriminator(hidden_features, rngs=rngs)


class Painter(nnx.Module):
    """Ideas (N, noise_features), N(0, 1) -> the heights of a curve (N, points)."""

    def __init__(self, points: int, noise_features: int, hidden_features: int, *, rngs: nnx.Rngs):
        self.noise_shape = (noise_features,)
        self.fc = nn.Sequential(
            nn.Linear(noise_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, points, rngs=rngs),
        )

    def __call__(self, noise):
        return self.fc(noise)


class Critic(nnx.Module):
    """The heights of a curve (N, points) -> the probability (N, 1) that a painter drew it."""

    def __init__(self, points: int, hidden_features: int, *, rngs: nnx.Rngs):
        self.fc = nn.Sequential(
            nn.Linear(points, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, 1, rngs=rngs),
            nn.Sigmoid(),
        )

    def __call__(self, curves):
        return self.fc(curves)


class PainterGAN(nnx.Module):
    """Two small perceptrons on curves of so many points."""

    def __init__(
        self, points: int = 15, noise_features: int = 5, hidden_features: int = 128, *, rngs: nnx.Rngs
    ):
        self.generator = Painter(points, noise_features, hidden_features, rngs=rngs)
        self.discriminator = Critic(points, hidden_features, rngs=rngs)


MODELS = {
    "gan": GAN,
    "lsgan": GAN,
    "mlp_gan": MLPGAN,
    "painter_gan": PainterGAN,
}
