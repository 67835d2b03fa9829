"""The recipes of the generative tasks."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import tyro

from train.optim import Adam, Optimizer
from train.recipes.base import Capability, ImageRecipe


@dataclass(frozen=True, kw_only=True)
class AutoencodeRecipe(ImageRecipe):
    """Reconstructing images in [-1, 1] from their latents."""

    task: ClassVar[str] = "autoencode"
    kinds: ClassVar[tuple[str, ...]] = ("image",)
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.SAMPLE})
    step_fields: ClassVar[tuple[str, ...]] = ("loss",)

    transforms: tuple[str, ...] = ("normalize:0.5:0.5",)
    """Transforms of training images in [0, 1], in order; the decoder's output is in [-1, 1]."""
    test_transforms: tuple[str, ...] = ("normalize:0.5:0.5",)
    """Transforms of the images of the test split."""
    loss: Literal["sse", "vae"] = "sse"
    """sse: the sum of the squared errors, divided by the batch size; vae: the same plus the KL divergence to
    N(0, 1)."""
    optimizer: Optimizer = Adam(lr=1e-3)
    """torch's optimizer."""


@dataclass(frozen=True, kw_only=True)
class GANRecipe(ImageRecipe):
    """Adversarial training: a generator against a discriminator, each with its optimizer."""

    task: ClassVar[str] = "gan"
    kinds: ClassVar[tuple[str, ...]] = ("image", "curves")
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.SAMPLE})
    losses: ClassVar[tuple[str, ...]] = ("discriminator_loss", "generator_loss")
    step_fields: ClassVar[tuple[str, ...]] = (
        "loss", "critic_steps", "weight_clip", "gradient_penalty", "translation", "instance_noise",
        "final_instance_noise", "ema", "decay_after", "steps",
    )  # fmt: skip

    transforms: tuple[str, ...] = ("normalize:0.5:0.5",)
    """Transforms of training images in [0, 1], in order; the generator's output is in [-1, 1]."""
    loss: Literal["bce", "probability", "half_probability", "minimax", "least_squares", "wasserstein"] = "bce"
    """bce: binary cross-entropy on logits; the discriminator's loss is the mean over real plus the mean over
    generated examples; probability: the same on probabilities; half_probability: the same on probabilities,
    with half of the discriminator's loss; minimax: the generator maximises the discriminator's loss;
    least_squares: targets 1 and 0; wasserstein: a critic with unbounded output."""
    latent_distribution: Annotated[Literal["uniform", "normal"], tyro.conf.arg(aliases=["--noise"])] = (
        "uniform"
    )
    """Distribution of the generator's latent; uniform: U(-1, 1); normal: N(0, 1)."""
    critic_steps: int = 1
    """Discriminator steps before each generator step, each on a separate part of the batch."""
    weight_clip: float | None = None
    """After each discriminator step, the discriminator's weights are clipped to [-value, value]."""
    gradient_penalty: float | None = None
    """Weight of the penalty on the discriminator's gradient norm between real and generated examples."""
    translation: int | None = None
    """Every image that the discriminator sees, real or generated, is moved by up to this many pixels along
    each axis, at random; the border is repeated."""
    instance_noise: float | None = None
    """Standard deviation of normal noise on every input of the discriminator, real or generated; it changes
    linearly to `final_instance_noise` over the run."""
    final_instance_noise: float = 0.0
    """Standard deviation of the noise at the end of the run."""
    ema: float | None = None
    """Sample with an exponential moving average of the generator's weights and batch statistics, with this
    decay."""
    decay_after: float = 1.0
    """Fraction of the run after which the learning rates fall linearly to 0; 1 keeps them constant."""
    generator_optimizer: Optimizer = Adam(lr=2e-4, betas=(0.5, 0.999))
    """torch's optimizer for the generator."""
    discriminator_optimizer: Optimizer = Adam(lr=2e-4, betas=(0.5, 0.999))
    """torch's optimizer for the discriminator."""

    def __post_init__(self) -> None:
        self._check_at_least(1, "critic_steps")
        super().__post_init__()
        self._check_at_least(0, "instance_noise", "final_instance_noise", "translation")
        self._check_at_least(0, "weight_clip", "gradient_penalty")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and less than 1, got {self.ema}")
        _check_fraction("decay_after", self.decay_after)

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"generator": self.generator_optimizer, "discriminator": self.discriminator_optimizer}

    @property
    def batch_splits(self) -> int:
        return self.critic_steps

    @property
    def differentiated_twice(self) -> frozenset[str]:
        return frozenset({"discriminator"}) if self.gradient_penalty else frozenset()


@dataclass(frozen=True, kw_only=True)
class CycleGANRecipe(ImageRecipe):
    """Unpaired translation between two domains of images, with a generator in each direction."""

    task: ClassVar[str] = "cyclegan"
    kinds: ClassVar[tuple[str, ...]] = ("pair",)
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.TRANSLATE})
    losses: ClassVar[tuple[str, ...]] = (
        "adversarial_loss", "cycle_loss", "identity_loss", "generator_loss", "discriminator_a_loss",
        "discriminator_b_loss",
    )  # fmt: skip
    step_fields: ClassVar[tuple[str, ...]] = (
        "cycle_weight", "identity_weight", "pool_size", "decay_after", "steps",
    )  # fmt: skip

    transforms: tuple[str, ...] = ("normalize:0.5:0.5",)
    """Transforms of training images in [0, 1], in order; the generators' outputs are in [-1, 1]."""
    test_transforms: tuple[str, ...] = ("normalize:0.5:0.5",)
    """Transforms of the images of the test split."""
    cycle_weight: float = 10.0
    """Weight of the L1 distance between an image and its translation there and back."""
    identity_weight: float = 5.0
    """Weight of the L1 distance between an image and its translation into its own domain; 0 disables it."""
    pool_size: int = 50
    """Number of earlier generated images per domain that the discriminators may see again; 0 disables the
    pools."""
    decay_after: float = 0.5
    """Fraction of the run after which the learning rates fall linearly to 0."""
    generator_optimizer: Optimizer = Adam(lr=2e-4, betas=(0.5, 0.999))
    """torch's optimizer for both generators."""
    discriminator_optimizer: Optimizer = Adam(lr=2e-4, betas=(0.5, 0.999))
    """torch's optimizer for both discriminators."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least(0, "cycle_weight", "identity_weight", "pool_size")
        _check_fraction("decay_after", self.decay_after)

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """{name of a child: its optimizer}.

        The authors use one optimizer for both generators. Separate optimizers give the same values.
        """
        generator, discriminator = self.generator_optimizer, self.discriminator_optimizer
        return {
            "generator_ab": generator, "generator_ba": generator,
            "discriminator_a": discriminator, "discriminator_b": discriminator,
        }  # fmt: skip


def _check_fraction(name: str, value: float) -> None:
    """ValueError if the value of this field is not a fraction of the run."""
    if not 0 <= value <= 1:
        raise ValueError(f"{name} is a fraction of the run, from 0 to 1, got {value}")
