"""Multilayer perceptrons for 28x28 images: one with ReLUs, one with batch norm before each ReLU."""

from torch import Tensor, nn


class FashionMLP(nn.Module):
    """Images (N, 1, 28, 28) -> logits (N, num_classes); two hidden layers of hidden_features units."""

    def __init__(self, num_classes: int = 10, hidden_features: int = 512):
        super().__init__()
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_features),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features),
            nn.ReLU(),
            nn.Linear(hidden_features, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(images)


class MLPBatchNorm(nn.Module):
    """Images (N, 1, 28, 28) -> logits (N, num_classes).

    The first hidden layer has hidden_features units, the second a third of them.
    """

    def __init__(self, num_classes: int = 10, hidden_features: int = 300):
        super().__init__()
        self.fc = nn.Sequential(
            nn.Flatten(),
            nn.Linear(28 * 28, hidden_features),
            nn.BatchNorm1d(hidden_features),
            nn.ReLU(),
            nn.Linear(hidden_features, hidden_features // 3),
            nn.BatchNorm1d(hidden_features // 3),
            nn.ReLU(),
            nn.Linear(hidden_features // 3, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.fc(images)


MODELS = {"fashion_mlp": FashionMLP, "mlp_bn": MLPBatchNorm}
