"""Small convolutional classifiers for images of 28x28 and 32x32.

lenet5 follows LeCun et al., "Gradient-Based Learning Applied to Document Recognition" (1998), with ReLUs and
max-pools. cifar_quick takes its widths from Caffe's example of that name. The others are networks of PyTorch
courses, in the form that those teach.
"""

from typing import TYPE_CHECKING

from torch import Tensor, nn


class _ConvNet(nn.Module):
    """The base of all classes here: calls the child `conv`, then the child `fc`."""

    if TYPE_CHECKING:  # TorchScript rejects annotations of children
        conv: nn.Sequential
        fc: nn.Sequential

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(self.conv(images))


class LeNet(_ConvNet):
    """Images (N, 1, 28, 28) -> logits (N, num_classes).

    There is no activation function: the max-pools are the only nonlinear layers.
    """

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 6, 3, padding=1),
            nn.MaxPool2d(2),  # (N, 6, 14, 14)
            nn.Conv2d(6, 16, 5),
            nn.MaxPool2d(2),  # (N, 16, 5, 5)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.Linear(120, 84),
            nn.Linear(84, num_classes),
        )


class LeNet5(_ConvNet):
    """Images (N, 1, 32, 32) -> logits (N, num_classes)."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 6, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 6, 14, 14)
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 16, 5, 5)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, num_classes),
        )


class CNNLogSoftmax(_ConvNet):
    """Images (N, 1, 28, 28) -> log-probabilities (N, num_classes), for the NLL loss."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 20, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 20, 12, 12)
            nn.Conv2d(20, 50, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 50, 4, 4)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(50 * 4 * 4, 500),
            nn.ReLU(),
            nn.Linear(500, num_classes),
            nn.LogSoftmax(1),
        )


class CNNSame(_ConvNet):
    """Images (N, 1, 28, 28) -> logits (N, num_classes); the convolutions keep the image size."""

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, 16, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 16, 14, 14)
            nn.Conv2d(16, 32, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 32, 7, 7)
        )
        self.fc = nn.Sequential(nn.Flatten(), nn.Linear(32 * 7 * 7, num_classes))


class CNNBatchNorm(_ConvNet):
    """Images (N, 1, 28, 28) -> logits (N, num_classes).

    width: the number of channels of the first convolution. The second hidden layer has hidden_features / 8
    units.
    """

    def __init__(self, num_classes: int = 10, width: int = 16, hidden_features: int = 1024):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(1, width, 3),
            nn.BatchNorm2d(width),
            nn.ReLU(),  # (N, 16, 26, 26)
            nn.Conv2d(width, 2 * width, 3),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 32, 12, 12)
            nn.Conv2d(2 * width, 4 * width, 3),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),  # (N, 64, 10, 10)
            nn.Conv2d(4 * width, 8 * width, 3),
            nn.BatchNorm2d(8 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 128, 4, 4)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(8 * width * 4 * 4, hidden_features),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features // 8),
            nn.ReLU(),
            nn.Linear(hidden_features // 8, num_classes),
        )


class SimpleCNN(_ConvNet):
    """Images (N, 3, 32, 32) -> logits (N, num_classes).

    width: the number of channels of the first convolution. The second hidden layer has hidden_features / 8
    units.
    """

    def __init__(self, num_classes: int = 10, width: int = 32, hidden_features: int = 512):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 32, 16, 16)
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 64, 8, 8)
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 128, 4, 4)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(4 * width * 4 * 4, hidden_features),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features // 8),
            nn.ReLU(),
            nn.Linear(hidden_features // 8, num_classes),
        )


class CIFARQuick(_ConvNet):
    """Images (N, 3, 32, 32) -> logits (N, num_classes).

    There is no activation function: the max-pools are the only nonlinear layers.
    """

    def __init__(self, num_classes: int = 10):
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, 32, 5, padding=2),
            nn.MaxPool2d(2),  # (N, 32, 16, 16)
            nn.Conv2d(32, 32, 5, padding=2),
            nn.MaxPool2d(2),  # (N, 32, 8, 8)
            nn.Conv2d(32, 64, 5, padding=2),
            nn.MaxPool2d(2),  # (N, 64, 4, 4)
        )
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(64 * 4 * 4, 64),
            nn.Linear(64, num_classes),
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
