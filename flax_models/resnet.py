"""Residual networks: He et al., "Deep Residual Learning for Image Recognition" (2016).

resnet18, resnet34 and resnet50 have torchvision's keys, shapes and initialisation, so its published weights
load. resnet_cifar is a small network for 32x32 images with a block of its own.
"""

import math
from collections.abc import Sequence

import jax
from flax import nnx

from flax_models import layers as nn


def kaiming_fan_out(shape: Sequence[int]) -> float:
    """The standard deviation of torch's kaiming_normal_(mode="fan_out", nonlinearity="relu")."""
    return math.sqrt(2 / nn.init.fans(shape)[1])


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions: (N, H, W, in_channels) -> (N, H/stride, W/stride, channels)."""

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, rngs: nnx.Rngs):
        self.conv1 = nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False, rngs=rngs)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False, rngs=rngs)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample = _downsample(in_channels, channels, stride, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        return self.relu(y + self.downsample(x))


class Bottleneck(nnx.Module):
    """1x1, 3x3, 1x1 convolutions: (N, H, W, in_channels) -> (N, H/stride, W/stride, 4 * channels).

    The 3x3 convolution has the stride, as in torchvision (v1.5). In the paper the first 1x1 convolution has
    it.
    """

    expansion = 4

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, rngs: nnx.Rngs):
        self.conv1 = nn.Conv2d(in_channels, channels, 1, bias=False, rngs=rngs)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, stride=stride, padding=1, bias=False, rngs=rngs)
        self.bn2 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, 4 * channels, 1, bias=False, rngs=rngs)
        self.bn3 = nn.BatchNorm2d(4 * channels)
        self.relu = nn.ReLU()
        self.downsample = _downsample(in_channels, 4 * channels, stride, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        return self.relu(y + self.downsample(x))


def _downsample(in_channels: int, out_channels: int, stride: int, *, rngs: nnx.Rngs):
    """The shortcut: the identity, or a projection if the shape changes."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False, rngs=rngs),
        nn.BatchNorm2d(out_channels),
    )


def _stage(block, count: int, in_channels: int, channels: int, stride: int, *, rngs: nnx.Rngs):
    """A sequence of `count` blocks; the first one has the stride."""
    blocks = [block(in_channels, channels, stride, rngs=rngs)]
    for _ in range(1, count):
        blocks.append(block(channels * block.expansion, channels, rngs=rngs))
    return nn.Sequential(*blocks)


class ResNet(nnx.Module):
    """Images (N, H, W, 3) -> logits (N, num_classes); width: the number of channels of the first stage.

    A subclass sets the block, and the number of blocks of each of the four stages.
    """

    block: type[BasicBlock | Bottleneck]
    stages: tuple[int, ...]

    def __init__(self, num_classes: int = 1000, width: int = 64, *, rngs: nnx.Rngs):
        block, (n1, n2, n3, n4) = self.block, self.stages
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False, rngs=rngs)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU()
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)  # a quarter of the size
        self.layer1 = _stage(block, n1, width, width, 1, rngs=rngs)
        self.layer2 = _stage(block, n2, width * block.expansion, 2 * width, 2, rngs=rngs)
        self.layer3 = _stage(block, n3, 2 * width * block.expansion, 4 * width, 2, rngs=rngs)
        self.layer4 = _stage(block, n4, 4 * width * block.expansion, 8 * width, 2, rngs=rngs)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(8 * width * block.expansion, num_classes, rngs=rngs)
        convolutions = [module for _, module in nnx.iter_modules(self) if isinstance(module, nn.Conv2d)]
        nn.init.redraw(convolutions, nn.init.normal(), kaiming_fan_out, rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        x = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.flatten(self.avgpool(x)))


class ResNet18(ResNet):
    """18 layers with weights."""

    block, stages = BasicBlock, (2, 2, 2, 2)


class ResNet34(ResNet):
    """34 layers with weights."""

    block, stages = BasicBlock, (3, 4, 6, 3)


class ResNet50(ResNet):
    """50 layers with weights."""

    block, stages = Bottleneck, (3, 4, 6, 3)


class CIFARBlock(nnx.Module):
    """Two 3x3 convolutions: (N, H, W, in_channels) -> (N, H/stride, W/stride, channels).

    Two peculiarities: the residual has a ReLU before the sum, besides the ReLU after it; and if the shape
    changes, the shortcut is a convolution with bias and without batch norm.
    """

    expansion = 1

    def __init__(self, in_channels: int, channels: int, stride: int = 1, *, rngs: nnx.Rngs):
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride=stride, padding=1, bias=False, rngs=rngs),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False, rngs=rngs),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        if stride == 1 and in_channels == channels:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = nn.Conv2d(in_channels, channels, 1, stride=stride, rngs=rngs)
        self.relu = nn.ReLU()

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.relu(self.residual(x) + self.shortcut(x))


class ResNetCIFAR(nnx.Module):
    """Images (N, 32, 32, 3) -> logits (N, num_classes); width: the number of channels of the first stage.

    Neither batch norm nor a ReLU follows the first convolution.
    """

    def __init__(self, num_classes: int = 10, width: int = 64, *, rngs: nnx.Rngs):
        self.conv = nn.Conv2d(3, width, 7, stride=2, padding=3, rngs=rngs)  # (N, 16, 16, 64)
        self.maxpool = nn.MaxPool2d(3, stride=1)  # (N, 14, 14, 64)
        self.layer1 = _stage(CIFARBlock, 2, width, width, 1, rngs=rngs)  # (N, 14, 14, 64)
        self.layer2 = _stage(CIFARBlock, 2, width, 2 * width, 2, rngs=rngs)  # (N, 7, 7, 128)
        self.layer3 = _stage(CIFARBlock, 2, 2 * width, 4 * width, 2, rngs=rngs)  # (N, 4, 4, 256)
        self.layer4 = _stage(CIFARBlock, 2, 4 * width, 8 * width, 2, rngs=rngs)  # (N, 2, 2, 512)
        self.avgpool = nn.AvgPool2d(2)  # (N, 1, 1, 512)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(8 * width, num_classes, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        x = self.maxpool(self.conv(images))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(self.flatten(self.avgpool(x)))


class ResBlock(nnx.Module):
    """A residual block for models of your own: (N, H, W, in_channels) -> (N, H, W, out_channels).

    The result is two 3x3 convolutions with batch norm, plus the input. A projection replaces the input if
    the number of channels changes. No ReLU follows the sum.
    """

    def __init__(self, in_channels: int, out_channels: int, *, rngs: nnx.Rngs):
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, padding=1, rngs=rngs),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, rngs=rngs),
            nn.BatchNorm2d(out_channels),
        )
        if in_channels == out_channels:
            self.shortcut = nn.Identity()
        else:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, rngs=rngs), nn.BatchNorm2d(out_channels)
            )

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.residual(x) + self.shortcut(x)


MODELS = {"resnet18": ResNet18, "resnet34": ResNet34, "resnet50": ResNet50, "resnet_cifar": ResNetCIFAR}
