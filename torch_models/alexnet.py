"""AlexNet: Krizhevsky, "One weird trick for parallelizing convolutional neural networks" (2014).

The keys and shapes are torchvision's, so its published weights load.
"""

from torch import Tensor, nn


class AlexNet(nn.Module):
    """Images (N, 3, H, W) -> logits (N, num_classes); width: the number of channels of the first convolution.

    Errors: RuntimeError for images of less than 63 pixels a side, which are too small for the last pool.
    """

    def __init__(
        self, num_classes: int = 1000, dropout: float = 0.5, width: int = 64, hidden_features: int = 4096,
    ):  # fmt: skip
        super().__init__()
        self.features = nn.Sequential(  # the shapes are those of 224x224 images
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
