"""VGG: Simonyan & Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition" (2015).

The keys, shapes and initialisation are torchvision's, so its published weights load.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from flax_models import layers as nn
from flax_models.resnet import kaiming_fan_out


class VGG(nnx.Module):
    """Images (N, H, W, 3) -> logits (N, num_classes), H and W at least 32.

    width: the number of channels of the first stage; the later stages have 2, 4, 8 and 8 times as many. A
    subclass sets the number of convolutions of each of the five stages, and whether batch norm follows them.
    """

    stages: tuple[int, ...]
    batch_norm = False

    def __init__(
        self, num_classes: int = 1000, dropout: float = 0.5, width: int = 64, hidden_features: int = 4096,
        *, rngs: nnx.Rngs,
    ):  # fmt: skip
        layers, in_channels = [], 3
        for convolutions, factor in zip(self.stages, (1, 2, 4, 8, 8), strict=True):
            for _ in range(convolutions):
                layers.append(nn.Conv2d(in_channels, factor * width, 3, padding=1, rngs=rngs))
                if self.batch_norm:
                    layers.append(nn.BatchNorm2d(factor * width))
                layers.append(nn.ReLU())
                in_channels = factor * width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.flatten = nn.Flatten()
        self.classifier = nn.Sequential(
            nn.Linear(8 * width * 7 * 7, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Dropout(dropout, rngs=rngs),
            nn.Linear(hidden_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Dropout(dropout, rngs=rngs),
            nn.Linear(hidden_features, num_classes, rngs=rngs),
        )
        modules = [module for _, module in nnx.iter_modules(self)]
        convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
        linears = [module for module in modules if isinstance(module, nn.Linear)]
        nn.init.redraw(convolutions, nn.init.normal(), kaiming_fan_out, rngs)
        nn.init.redraw(linears, nn.init.normal(0, 0.01), lambda shape: 1, rngs)
        for module in (*convolutions, *linears):
            if module.bias is not None:
                module.bias = nnx.Param(jnp.zeros_like(module.bias[...]))

    def __call__(self, images: jax.Array) -> jax.Array:
        return self.classifier(self.flatten(self.avgpool(self.features(images))))


class VGG11(VGG):
    """Configuration A of the paper: 11 layers with weights."""

    stages = (1, 1, 2, 2, 2)


class VGG13(VGG):
    """Configuration B: 13 layers with weights."""

    stages = (2, 2, 2, 2, 2)


class VGG16(VGG):
    """Configuration D: 16 layers with weights."""

    stages = (2, 2, 3, 3, 3)


class VGG19(VGG):
    """Configuration E: 19 layers with weights."""

    stages = (2, 2, 4, 4, 4)


class VGG11BN(VGG11):
    """VGG11 with batch norm after every convolution."""

    batch_norm = True


class VGG13BN(VGG13):
    """VGG13 with batch norm after every convolution."""

    batch_norm = True


class VGG16BN(VGG16):
    """VGG16 with batch norm after every convolution."""

    batch_norm = True


class VGG19BN(VGG19):
    """VGG19 with batch norm after every convolution."""

    batch_norm = True


MODELS = {
    "vgg11": VGG11,
    "vgg13": VGG13,
    "vgg16": VGG16,
    "vgg19": VGG19,
    "vgg11_bn": VGG11BN,
    "vgg13_bn": VGG13BN,
    "vgg16_bn": VGG16BN,
    "vgg19_bn": VGG19BN,
}
