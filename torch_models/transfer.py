"""Transfer learning: a new head on the features of trained classifiers.

Yosinski et al., "How transferable are features in deep neural networks?" (2014). A trunk is a classifier of
this catalogue without its head; `TRUNKS` has the classifiers.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from torch_models import alexnet, googlenet, resnet, vgg


class Trunk(NamedTuple):
    """A classifier that can be a trunk.

    model: its class. features: the number of its features, divided by its width. options: the options that
    keep its head small, because the head is dropped.
    """

    model: Any
    features: int
    options: dict[str, Any]


_SMALL = {"num_classes": 1, "hidden_features": 1}
TRUNKS: dict[str, Trunk] = {
    "alexnet": Trunk(alexnet.AlexNet, 4, _SMALL),
    **{name: Trunk(model, 8, _SMALL) for name, model in vgg.MODELS.items()},
    "googlenet": Trunk(googlenet.GoogLeNet, 16, {"num_classes": 1, "aux_logits": False}),
    "resnet18": Trunk(resnet.ResNet18, 8, {"num_classes": 1}),
    "resnet34": Trunk(resnet.ResNet34, 8, {"num_classes": 1}),
    "resnet50": Trunk(resnet.ResNet50, 32, {"num_classes": 1}),
    "resnet_cifar": Trunk(resnet.ResNetCIFAR, 8, {"num_classes": 1}),
}
"""The classifiers that can be a trunk, by the name of their model."""
HEAD_LAYERS = ("dropout", "fc", "classifier")
"""The names of the layers of a classifier's head."""


def build_trunk(name: str, width: int) -> nn.Module:
    """A classifier without its head: images (N, 3, H, W) -> features (N, TRUNKS[name].features * width).

    A feature is the mean of one channel of the last feature maps, for every trunk and any image size.
    Errors: ValueError for a name that is not in TRUNKS.
    """
    if name not in TRUNKS:
        raise ValueError(f"{name!r} is not a trunk: there are {', '.join(TRUNKS)}")
    trunk = TRUNKS[name].model(**TRUNKS[name].options, width=width)
    trunk.avgpool = nn.AdaptiveAvgPool2d(1)
    for layer in HEAD_LAYERS:
        if hasattr(trunk, layer):
            setattr(trunk, layer, nn.Identity())
    return trunk


class Transfer(nn.Module):
    """Images (N, 3, H, W) -> logits (N, num_classes), from the features of one or several trunks.

    trunks: the names of the trunks, such as "resnet18" or "resnet18+vgg11"; the head takes the features of
    all of them, concatenated. trained: "all", or "head" for frozen trunks: they stay in evaluation mode in
    training too. hidden_features: of the two hidden layers of the head. width: of every trunk.
    Errors: ValueError for an unknown trunk, and for any other value of `trained`.
    """

    def __init__(
        self, num_classes: int = 2, trunks: str = "resnet18", trained: str = "all",
        hidden_features: int = 256, dropout: float = 0.5, width: int = 64,
    ):  # fmt: skip
        super().__init__()
        if trained not in ("all", "head"):
            raise ValueError(f'trained is "all" or "head", got {trained!r}')
        self.trained = trained
        names = trunks.split("+")
        self.trunks = nn.ModuleList([build_trunk(name, width) for name in names])
        self.head = nn.Sequential(
            nn.Linear(sum(TRUNKS[name].features for name in names) * width, hidden_features),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_features, hidden_features),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_features, num_classes),
        )
        self.train()

    def train(self, mode: bool = True) -> "Transfer":
        """Sets training mode; frozen trunks stay in evaluation mode."""
        super().train(mode)
        if self.trained == "head":
            self.trunks.eval()
        return self

    def features(self, images: Tensor) -> Tensor:
        """The features (N, F) of all trunks for images (N, 3, H, W): the input of the head."""
        parts: list[Tensor] = []
        for trunk in self.trunks:
            features = trunk(images)
            assert isinstance(features, Tensor)  # googlenet may return a tuple, but not without its heads
            parts.append(features)
        return torch.cat(parts, dim=1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.features(images))


MODELS = {"transfer": Transfer}
