"""GoogLeNet: Szegedy et al., "Going Deeper with Convolutions" (2015), in torchvision's form.

The keys and shapes are torchvision's, so its published weights load. Two differences from the paper are
torchvision's: there is batch norm, and the paper's 5x5 convolutions are 3x3 (a known mistake). InceptionA is
the first block of "Rethinking the Inception Architecture for Computer Vision" (2016).
"""

import jax
import jax.numpy as jnp
from flax import nnx

from flax_models import layers as nn


class BasicConv2d(nnx.Module):
    """A convolution without bias, batch norm with eps 1e-3, and a ReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, padding: int = 0,
        *, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride=stride, padding=padding, bias=False, rngs=rngs
        )
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)
        self.relu = nn.ReLU()

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.relu(self.bn(self.conv(x)))


class Inception(nnx.Module):
    """Four parallel branches: (N, H, W, in_channels) -> (N, H, W, ch1x1 + ch3x3 + ch5x5 + pool_proj).

    ch3x3red, ch5x5red: the number of channels to which a 1x1 convolution reduces the input first.
    """

    def __init__(
        self, in_channels: int, ch1x1: int, ch3x3red: int, ch3x3: int, ch5x5red: int, ch5x5: int,
        pool_proj: int, *, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.branch1 = BasicConv2d(in_channels, ch1x1, 1, rngs=rngs)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, ch3x3red, 1, rngs=rngs),
            BasicConv2d(ch3x3red, ch3x3, 3, padding=1, rngs=rngs),
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, ch5x5red, 1, rngs=rngs),
            BasicConv2d(ch5x5red, ch5x5, 3, padding=1, rngs=rngs),
        )
        self.branch4 = nn.Sequential(
            nn.MaxPool2d(3, stride=1, padding=1, ceil_mode=True),
            BasicConv2d(in_channels, pool_proj, 1, rngs=rngs),
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        branches = [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)]
        return jnp.concatenate(branches, axis=-1)


class InceptionAux(nnx.Module):
    """An auxiliary head: (N, H, W, in_channels) -> logits (N, num_classes)."""

    def __init__(
        self, in_channels: int, channels: int, num_classes: int, dropout: float = 0.7, *, rngs: nnx.Rngs
    ):
        self.avgpool = nn.AdaptiveAvgPool2d(4)
        self.conv = BasicConv2d(in_channels, channels, 1, rngs=rngs)
        self.flatten = nn.Flatten()
        self.fc1 = nn.Linear(channels * 4 * 4, 8 * channels, rngs=rngs)
        self.relu = nn.ReLU()
        self.dropout = nn.Dropout(dropout, rngs=rngs)
        self.fc2 = nn.Linear(8 * channels, num_classes, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.flatten(self.conv(self.avgpool(x)))
        return self.fc2(self.dropout(self.relu(self.fc1(x))))


class GoogLeNet(nnx.Module):
    """Images (N, H, W, 3) -> logits (N, num_classes).

    With aux_logits the result in training is (logits, aux2, aux1), each (N, num_classes); the loss weights
    the two auxiliary heads by 0.3. transform_input: whether images that are normalised by ImageNet's mean and
    deviation are first mapped to [-1, 1], the range that the published weights were trained on. width: the
    number of channels of the first convolution, a multiple of 8; all others scale with it.
    """

    def __init__(
        self, num_classes: int = 1000, aux_logits: bool = True, transform_input: bool = False,
        dropout: float = 0.2, dropout_aux: float = 0.7, width: int = 64, *, rngs: nnx.Rngs,
    ):  # fmt: skip
        if width < 8 or width % 8:
            raise ValueError(f"googlenet's width must be a multiple of 8, got {width}")
        self.aux_logits, self.transform_input = aux_logits, transform_input
        self.deterministic = False  # module.train() and module.eval() set it

        def scaled(*counts: int) -> list[int]:
            return [count * width // 64 for count in counts]

        self.conv1 = BasicConv2d(3, width, 7, stride=2, padding=3, rngs=rngs)
        self.maxpool1 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.conv2 = BasicConv2d(width, width, 1, rngs=rngs)
        self.conv3 = BasicConv2d(width, 3 * width, 3, padding=1, rngs=rngs)
        self.maxpool2 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception3a = Inception(*scaled(192, 64, 96, 128, 16, 32, 32), rngs=rngs)
        self.inception3b = Inception(*scaled(256, 128, 128, 192, 32, 96, 64), rngs=rngs)
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.inception4a = Inception(*scaled(480, 192, 96, 208, 16, 48, 64), rngs=rngs)
        self.inception4b = Inception(*scaled(512, 160, 112, 224, 24, 64, 64), rngs=rngs)
        self.inception4c = Inception(*scaled(512, 128, 128, 256, 24, 64, 64), rngs=rngs)
        self.inception4d = Inception(*scaled(512, 112, 144, 288, 32, 64, 64), rngs=rngs)
        self.inception4e = Inception(*scaled(528, 256, 160, 320, 32, 128, 128), rngs=rngs)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)
        self.inception5a = Inception(*scaled(832, 256, 160, 320, 32, 128, 128), rngs=rngs)
        self.inception5b = Inception(*scaled(832, 384, 192, 384, 48, 128, 128), rngs=rngs)
        if aux_logits:
            self.aux1 = InceptionAux(
                *scaled(512, 128), num_classes=num_classes, dropout=dropout_aux, rngs=rngs
            )
            self.aux2 = InceptionAux(
                *scaled(528, 128), num_classes=num_classes, dropout=dropout_aux, rngs=rngs
            )
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.dropout = nn.Dropout(dropout, rngs=rngs)
        self.fc = nn.Linear(16 * width, num_classes, rngs=rngs)
        modules = [m for _, m in nnx.iter_modules(self) if isinstance(m, nn.Conv2d | nn.Linear)]
        nn.init.redraw(modules, nn.init.trunc_normal(std=0.01, a=-2, b=2), lambda shape: 1, rngs)

    def __call__(self, images: jax.Array) -> jax.Array | tuple[jax.Array, jax.Array, jax.Array]:
        if self.transform_input:
            images = self._transformed(images)
        x = self.maxpool1(self.conv1(images))
        x = self.maxpool2(self.conv3(self.conv2(x)))
        x = self.maxpool3(self.inception3b(self.inception3a(x)))
        early = self.inception4a(x)
        late = self.inception4d(self.inception4c(self.inception4b(early)))
        x = self.maxpool4(self.inception4e(late))
        x = self.inception5b(self.inception5a(x))
        logits = self.fc(self.dropout(self.flatten(self.avgpool(x))))
        if self.aux_logits and not self.deterministic:
            return logits, self.aux2(late), self.aux1(early)
        return logits

    def _transformed(self, images: jax.Array) -> jax.Array:
        """The images mapped to [-1, 1]; images * deviation + mean is in [0, 1]."""
        red = images[..., 0:1] * (0.229 / 0.5) + (0.485 - 0.5) / 0.5
        green = images[..., 1:2] * (0.224 / 0.5) + (0.456 - 0.5) / 0.5
        blue = images[..., 2:3] * (0.225 / 0.5) + (0.406 - 0.5) / 0.5
        return jnp.concatenate([red, green, blue], axis=-1)


class InceptionA(nnx.Module):
    """Four parallel branches: (N, H, W, in_channels) -> (N, H, W, 224 + pool_features).

    The second branch has a true 5x5 convolution, the third two 3x3 ones, the fourth an average pool.
    """

    def __init__(self, in_channels: int, pool_features: int, *, rngs: nnx.Rngs):
        self.branch1 = BasicConv2d(in_channels, 64, 1, rngs=rngs)
        self.branch2 = nn.Sequential(
            BasicConv2d(in_channels, 48, 1, rngs=rngs),
            BasicConv2d(48, 64, 5, padding=2, rngs=rngs),
        )
        self.branch3 = nn.Sequential(
            BasicConv2d(in_channels, 64, 1, rngs=rngs),
            BasicConv2d(64, 96, 3, padding=1, rngs=rngs),
            BasicConv2d(96, 96, 3, padding=1, rngs=rngs),
        )
        self.branch4 = nn.Sequential(
            nn.AvgPool2d(3, stride=1, padding=1),
            BasicConv2d(in_channels, pool_features, 1, rngs=rngs),
        )

    def __call__(self, x: jax.Array) -> jax.Array:
        branches = [self.branch1(x), self.branch2(x), self.branch3(x), self.branch4(x)]
        return jnp.concatenate(branches, axis=-1)


MODELS = {"googlenet": GoogLeNet}
