"""AlexNet in the form of Krizhevsky, "One weird trick for parallelizing convolutional neural networks"
(2014), as torchvision has it: the same keys and shapes, so that its published weights load.
"""

from torch import Tensor, nn


class AlexNet(nn.Module):
    """Images (N, 3, H, W) -> logits (N, num_classes); width: the channels of the first convolution.

    Errors: RuntimeError for images of less than 63 pixels a side, which the last pool cannot take.
    """

    def __init__(
        self, num_classes: int = 1000, dropout: float = 0.5, width: int = 64, hidden_features: int = 4096,
    ):  # fmt: skip
        super().__init__()
        self.features = nn.Sequential(  # sizes of 224 pixels
            nn.Conv2d(3, width, 11, stride=4, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (N, 64, 27, 27)
            nn.Conv2d(width, 3 * width, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (N, 192, 13, 13)
            nn.Conv2d(3 * width, 6 * width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(6 * width, 4 * width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(4 * width, 4 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(3, stride=2),  # (N, 256, 6, 6)
        )
        self.avgpool = nn.AdaptiveAvgPool2d(6)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(4 * width * 6 * 6, hidden_features),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_features, hidden_features),
            nn.ReLU(),
            nn.Linear(hidden_features, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.flatten(self.avgpool(self.features(images))))


MODELS = {"alexnet": AlexNet}
