"""CycleGAN: Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial
Networks" (2017), two generators after Johnson et al. (2016) and two 70x70 patch discriminators.

Layers, order and keys are those of the authors' PyTorch code: a generator of theirs, below
`generator_ab.`, is ours.
"""

import jax.numpy as jnp
from flax import nnx

from flax_models import layers as nn


class ResidualBlock(nnx.Module):
    """Two 3x3 convolutions under reflection, and the input: (N, H, W, channels) twice; no last ReLU."""

    def __init__(self, channels: int, *, rngs: nnx.Rngs):
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, rngs=rngs),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3, rngs=rngs),
            nn.InstanceNorm2d(channels),
        )

    def __call__(self, x):
        return x + self.conv_block(x)


class CycleGANGenerator(nnx.Module):
    """Pictures (N, H, W, 3) in [-1, 1] -> pictures of the other domain, the same shape and range.

    H and W are multiples of 4, and at least 8. The paper's c7s1-64, d128, d256, R256 x blocks, u128, u64,
    c7s1-3 at width 64.
    """

    def __init__(self, width: int, blocks: int, *, rngs: nnx.Rngs):
        layers = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width, 7, rngs=rngs),
            nn.InstanceNorm2d(width),
            nn.ReLU(),  # (N, H, W, 64)
        ]
        for channels in (width, 2 * width):
            layers += [
                nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, rngs=rngs),
                nn.InstanceNorm2d(2 * channels),
                nn.ReLU(),  # (N, H/2, W/2, 128), (N, H/4, W/4, 256)
            ]
        layers += [ResidualBlock(4 * width, rngs=rngs) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            layers += [
                nn.ConvTranspose2d(
                    channels, channels // 2, 3, stride=2, padding=1, output_padding=1, rngs=rngs
                ),
                nn.InstanceNorm2d(channels // 2),
                nn.ReLU(),  # (N, H/2, W/2, 128), (N, H, W, 64)
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7, rngs=rngs), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def __call__(self, images):
        return self.model(images)


class CycleGANDiscriminator(nnx.Module):
    """Pictures (N, H, W, 3) in [-1, 1] -> scores (N, H/8 - 2, W/8 - 2, 1), near 1 for real.

    H and W are at least 24; each score judges 70x70 pixels. The paper's C64, C128, C256, C512 at width 64.
    """

    def __init__(self, width: int, *, rngs: nnx.Rngs):
        layers = [nn.Conv2d(3, width, 4, stride=2, padding=1, rngs=rngs), nn.LeakyReLU(0.2)]
        for channels, stride in ((width, 2), (2 * width, 2), (4 * width, 1)):
            layers += [
                nn.Conv2d(channels, 2 * channels, 4, stride=stride, padding=1, rngs=rngs),
                nn.InstanceNorm2d(2 * channels),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(8 * width, 1, 4, padding=1, rngs=rngs))
        self.model = nn.Sequential(*layers)

    def __call__(self, images):
        return self.model(images)


class CycleGAN(nnx.Module):
    """A generator each way between the domains a and b, and a discriminator for each domain.

    width: the channels of the first layers, 64 in the paper; all others scale with it. blocks: residual
    blocks of a generator, in the paper 9, and 6 for pictures of 128 pixels.

    Convolutions begin at N(0, 0.02), their biases at 0.
    """

    def __init__(self, width: int = 64, blocks: int = 9, *, rngs: nnx.Rngs):
        self.generator_ab = CycleGANGenerator(width, blocks, rngs=rngs)
        self.generator_ba = CycleGANGenerator(width, blocks, rngs=rngs)
        self.discriminator_a = CycleGANDiscriminator(width, rngs=rngs)
        self.discriminator_b = CycleGANDiscriminator(width, rngs=rngs)
        modules = [module for _, module in nnx.iter_modules(self)]
        convolutions = [m for m in modules if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
        nn.init.redraw(convolutions, nn.init.normal(0, 0.02), lambda shape: 1, rngs)
        for module in convolutions:
            module.bias = nnx.Param(jnp.zeros_like(module.bias))


MODELS = {"cyclegan": CycleGAN}
