"""Small convolutional classifiers for images of 28x28 and 32x32.

lenet5 follows LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998), with ReLUs and
max-pools. cifar_quick takes its widths from Caffe's example of that name. The others are networks of PyTorch
courses, in the form that those teach.
"""

import jax
from flax import nnx

from flax_models import layers as nn


class _ConvNet(nnx.Module):
    """The base of all classes here: calls the child `conv`, then the child `fc`."""

    conv: nn.Sequential
    fc: nn.Sequential

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.fc(self.conv(images))


class LeNet(_ConvNet):
    """Images (N, 28, 28, 1) -> logits (N, num_classes).

    There is no activation function: the max-pools are the only nonlinear layers.
    """

    def __init__(self, num_classes: int = 10, *, rngs: nnx.Rngs):
        self.conv = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1, rngs=rngs),
            nn.MaxPool2d(2),  # (N, 14, 14, 6)
            nn.Conv2d(6, 16, 5, rngs=rngs),
            nn.MaxPool2d(2),  # (N, 5, 5, 16)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120, rngs=rngs),
            nn.Linear(120, 84, rngs=rngs),
            nn.Linear(84, num_classes, rngs=rngs),
        )


class LeNet5(_ConvNet):
    """Images (N, 32, 32, 1) -> logits (N, num_classes)."""

    def __init__(self, num_classes: int = 10, *, rngs: nnx.Rngs):
        self.conv = nn.Sequential(
            nn.Conv2d(1, 6, 5, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 14, 14, 6)
            nn.Conv2d(6, 16, 5, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 5, 5, 16)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120, rngs=rngs),
            nn.ReLU(),
            nn.Linear(120, 84, rngs=rngs),
            nn.ReLU(),
            nn.Linear(84, num_classes, rngs=rngs),
        )


class CNNLogSoftmax(_ConvNet):
    """Images (N, 28, 28, 1) -> log-probabilities (N, num_classes), for the NLL loss."""

    def __init__(self, num_classes: int = 10, *, rngs: nnx.Rngs):
        self.conv = nn.Sequential(
            nn.Conv2d(1, 20, 5, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 12, 12, 20)
            nn.Conv2d(20, 50, 5, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 4, 4, 50)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(50 * 4 * 4, 500, rngs=rngs),
            nn.ReLU(),
            nn.Linear(500, num_classes, rngs=rngs),
            nn.LogSoftmax(1),
        )


class CNNSame(_ConvNet):
    """Images (N, 28, 28, 1) -> logits (N, num_classes); the convolutions keep the image size."""

    def __init__(self, num_classes: int = 10, *, rngs: nnx.Rngs):
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 14, 14, 16)
            nn.Conv2d(16, 32, 5, padding=2, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 7, 7, 32)
        )
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(32 * 7 * 7, num_classes, rngs=rngs))


class CNNBatchNorm(_ConvNet):
    """Images (N, 28, 28, 1) -> logits (N, num_classes).

    width: the number of channels of the first convolution. The second hidden layer has hidden_features / 8
    units.
    """

    def __init__(
        self, num_classes: int = 10, width: int = 16, hidden_features: int = 1024, *, rngs: nnx.Rngs
    ):
        self.conv = nn.Sequential(
            nn.Conv2d(1, width, 3, rngs=rngs),
            nn.BatchNorm2d(width),
            nn.ReLU(),  # (N, 26, 26, 16)
            nn.Conv2d(width, 2 * width, 3, rngs=rngs),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 12, 12, 32)
            nn.Conv2d(2 * width, 4 * width, 3, rngs=rngs),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),  # (N, 10, 10, 64)
            nn.Conv2d(4 * width, 8 * width, 3, rngs=rngs),
            nn.BatchNorm2d(8 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 4, 4, 128)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(8 * width * 4 * 4, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features // 8, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features // 8, num_classes, rngs=rngs),
        )


class SimpleCNN(_ConvNet):
    """Images (N, 32, 32, 3) -> logits (N, num_classes).

    width: the number of channels of the first convolution. The second hidden layer has hidden_features / 8
    units.
    """

    def __init__(self, num_classes: int = 10, width: int = 32, hidden_features: int = 512, *, rngs: nnx.Rngs):
        self.conv = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 16, 16, 32)
            nn.Conv2d(width, 2 * width, 3, padding=1, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 8, 8, 64)
            nn.Conv2d(2 * width, 4 * width, 3, padding=1, rngs=rngs),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 4, 4, 128)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(4 * width * 4 * 4, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features // 8, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features // 8, num_classes, rngs=rngs),
        )


class CIFARQuick(_ConvNet):
    """Images (N, 32, 32, 3) -> logits (N, num_classes).

    There is no activation function: the max-pools are the only nonlinear layers.
    """

    def __init__(self, num_classes: int = 10, *, rngs: nnx.Rngs):
        self.conv = nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=2, rngs=rngs),
            nn.MaxPool2d(2),  # (N, 16, 16, 32)
            nn.Conv2d(32, 32, 5, padding=2, rngs=rngs),
            nn.MaxPool2d(2),  # (N, 8, 8, 32)
            nn.Conv2d(32, 64, 5, padding=2, rngs=rngs),
            nn.MaxPool2d(2),  # (N, 4, 4, 64)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 64, rngs=rngs),
            nn.Linear(64, num_classes, rngs=rngs),
        )


MODELS = {
    "lenet": LeNet,
    "lenet5": LeNet5,
    "cnn_log_softmax": CNNLogSoftmax,
    "cnn_same": CNNSame,
    "cnn_bn": CNNBatchNorm,
    "simple_cnn": SimpleCNN,
    "cifar_quick": CIFARQuick,
}
