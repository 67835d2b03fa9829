"""Regression: the smallest networks, with one or two Linear layers.

two_layer_net is the network of PyTorch's first tutorial: it has no biases, and weights of unit variance.
"""

from torch import Tensor, nn


class LinearRegression(nn.Module):
    """A line, or a plane: x (N, in_features) -> y (N, 1)."""

    def __init__(self, in_features: int = 1):
        super().__init__()
        self.linear = nn.Linear(in_features, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class PolynomialRegression(nn.Module):
    """A cubic polynomial: the powers (x, x^2, x^3) as (N, 3) -> y (N, 1)."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, powers: Tensor) -> Tensor:
        return self.linear(powers)


class LogisticRegression(nn.Module):
    """x (N, in_features) -> the probability (N, 1) of the second class."""

    def __init__(self, in_features: int = 2):
        super().__init__()
        self.linear = nn.Linear(in_features, 1)
        self.sigmoid = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        return self.sigmoid(self.linear(x))


class TwoLayerNet(nn.Module):
    """(N, in_features) -> (N, out_features) with one ReLU, no biases, and weights N(0, 1)."""

    def __init__(self, in_features: int = 1000, hidden_features: int = 100, out_features: int = 10):
        super().__init__()
        self.fc1 = nn.Linear(in_features, hidden_features, bias=False)
        self.relu = nn.ReLU()
        self.fc2 = nn.Linear(hidden_features, out_features, bias=False)
        for fc in (self.fc1, self.fc2):
            nn.init.normal_(fc.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(self.relu(self.fc1(x)))


MODELS = {
    "linear_regression": LinearRegression,
    "polynomial_regression": PolynomialRegression,
    "logistic_regression": LogisticRegression,
    "two_layer_net": TwoLayerNet,
}
