"""CycleGAN: two generators after Johnson et al. (2016) and two 70x70 patch discriminators.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks" (2017). Layers,
order and keys are those of the authors' PyTorch code: the keys of their generator are those of ours below
`generator_ab.`.
"""

from torch import Tensor, nn


class ResidualBlock(nn.Module):
    """The input plus two 3x3 convolutions with reflection padding: (N, channels, H, W) -> the same shape.

    No ReLU follows the sum.
    """

    def __init__(self, channels: int):
        super().__init__()
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(channels, channels, 3),
            nn.InstanceNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class CycleGANGenerator(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] -> images of the other domain, in the same shape and range.

    H and W are multiples of 4, and at least 8. At width 64 the layers are the paper's c7s1-64, d128, d256,
    R256 x blocks, u128, u64, c7s1-3.
    """

    def __init__(self, width: int, blocks: int):
        super().__init__()
        layers = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(3, width, 7),
            nn.InstanceNorm2d(width),
            nn.ReLU(),  # (N, 64, H, W)
        ]
        for channels in (width, 2 * width):
            layers += [
                nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1),
                nn.InstanceNorm2d(2 * channels),
                nn.ReLU(),  # (N, 128, H/2, W/2), (N, 256, H/4, W/4)
            ]
        layers += [ResidualBlock(4 * width) for _ in range(blocks)]
        for channels in (4 * width, 2 * width):
            layers += [
                nn.ConvTranspose2d(channels, channels // 2, 3, stride=2, padding=1, output_padding=1),
                nn.InstanceNorm2d(channels // 2),
                nn.ReLU(),  # (N, 128, H/2, W/2), (N, 64, H, W)
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(width, 3, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)


class CycleGANDiscriminator(nn.Module):
    """Images (N, 3, H, W) in [-1, 1] -> scores (N, 1, H/8 - 2, W/8 - 2), near 1 for real images.

    H and W are at least 24. Each score rates 70x70 pixels. At width 64 the layers are the paper's C64, C128,
    C256, C512.
    """

    def __init__(self, width: int):
        super().__init__()
        layers = [nn.Conv2d(3, width, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for channels, stride in ((width, 2), (2 * width, 2), (4 * width, 1)):
            layers += [
                nn.Conv2d(channels, 2 * channels, 4, stride=stride, padding=1),
                nn.InstanceNorm2d(2 * channels),
                nn.LeakyReLU(0.2),
            ]
        layers.append(nn.Conv2d(8 * width, 1, 4, padding=1))
        self.model = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images)


class CycleGAN(nn.Module):
    """Two generators, from domain a to b and from b to a, and a discriminator for each domain.

    width: the number of channels of the first layers, 64 in the paper; all others scale with it. blocks: the
    number of residual blocks of a generator, 9 in the paper, and 6 for images of 128 pixels.

    The weights of convolutions are initialised from N(0, 0.02), their biases with 0.
    """

    def __init__(self, width: int = 64, blocks: int = 9):
        super().__init__()
        self.generator_ab = CycleGANGenerator(width, blocks)
        self.generator_ba = CycleGANGenerator(width, blocks)
        self.discriminator_a = CycleGANDiscriminator(width)
        self.discriminator_b = CycleGANDiscriminator(width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0, 0.02)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)


MODELS = {"cyclegan": CycleGAN}
