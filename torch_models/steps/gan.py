"""Adversarial training: the losses of both halves, and the step that all variants share."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from torch_models.steps.decay import linear_decay


def bce_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) on logits: the mean over real plus the mean over fake."""
    return F.binary_cross_entropy_with_logits(
        real, torch.ones_like(real)
    ) + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def bce_generator_loss(fake: Tensor) -> Tensor:
    """-log D(G(z)) on logits."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


def probability_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) on probabilities."""
    real_loss = F.binary_cross_entropy(real, torch.ones_like(real))
    return real_loss + F.binary_cross_entropy(fake, torch.zeros_like(fake))


def half_probability_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """The same, halved."""
    return probability_discriminator_loss(real, fake) / 2


def probability_generator_loss(fake: Tensor) -> Tensor:
    """-log D(G(z)) on probabilities."""
    return F.binary_cross_entropy(fake, torch.ones_like(fake))


def minimax_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-mean(log D(x) + log(1 - D(G(z)))) on probabilities, as it stands in the paper."""
    return -torch.mean(torch.log(real) + torch.log(1 - fake))


def minimax_generator_loss(fake: Tensor) -> Tensor:
    """mean log(1 - D(G(z))) on probabilities."""
    return torch.mean(torch.log(1 - fake))


def least_squares_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """(D(x) - 1)^2 / 2 + D(G(z))^2 / 2."""
    return 0.5 * F.mse_loss(real, torch.ones_like(real)) + 0.5 * F.mse_loss(fake, torch.zeros_like(fake))


def least_squares_generator_loss(fake: Tensor) -> Tensor:
    """(D(G(z)) - 1)^2 / 2."""
    return 0.5 * F.mse_loss(fake, torch.ones_like(fake))


def wasserstein_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """D(G(z)) - D(x), of a critic without bounds."""
    return fake.mean() - real.mean()


def wasserstein_generator_loss(fake: Tensor) -> Tensor:
    """-D(G(z))."""
    return -fake.mean()


LOSSES = {
    "bce": (bce_discriminator_loss, bce_generator_loss),
    "probability": (probability_discriminator_loss, probability_generator_loss),
    "half_probability": (half_probability_discriminator_loss, probability_generator_loss),
    "minimax": (minimax_discriminator_loss, minimax_generator_loss),
    "least_squares": (least_squares_discriminator_loss, least_squares_generator_loss),
    "wasserstein": (wasserstein_discriminator_loss, wasserstein_generator_loss),
}


class GANStep:
    """Steps of the discriminator, each on its share of the batch, then one of the generator on the last.

    Both see the same noise; the generator runs anew for its own half, so that its batch statistics move
    twice. Gradients are taken for the trained half alone. With `ema`, `average.module` is the generator
    with the moving average of its weights. What the discriminator is shown gets noise["real_noise"] or
    noise["fake_noise"], of the examples' shape, times `instance_noise` and the share of `steps` that is left;
    `done` of them are taken already where a run goes on.
    """

    def __init__(
        self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], loss: str = "bce",
        critic_steps: int = 1, weight_clip: float | None = None, gradient_penalty: float | None = None,
        instance_noise: float | None = None, ema: float | None = None, steps: int | None = None,
        done: int = 0,
    ):  # fmt: skip
        self.model, self.optimizers = model.train(), optimizers
        self.discriminator_loss, self.generator_loss = LOSSES[loss]
        self.critic_steps, self.weight_clip, self.penalty = critic_steps, weight_clip, gradient_penalty
        self.instance_noise, self.steps, self.done = instance_noise, steps, done
        self.average = None
        if ema is not None:
            self.average = AveragedModel(model.generator, multi_avg_fn=get_ema_multi_avg_fn(ema))

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        everything = {**batch, **noise}
        shares = [
            {name: tensor.tensor_split(self.critic_steps)[n] for name, tensor in everything.items()}
            for n in range(self.critic_steps)
        ]
        losses = torch.stack([self._discriminate(share) for share in shares])
        generator_loss = self._generate_better(shares[-1])
        if self.average is not None:
            self.average.update_parameters(self.model.generator)
        self.done += 1
        return {"discriminator_loss": losses.mean(), "generator_loss": generator_loss}

    def _discriminate(self, share: Mapping[str, Tensor]) -> Tensor:
        generator, discriminator = self.model.generator, self.model.discriminator
        real, given = self._real(share), self._given(share)
        with torch.no_grad():
            fake = generator(share["z"], *given)
        real, fake = self._shown(real, share, "real_noise"), self._shown(fake, share, "fake_noise")
        loss = self.discriminator_loss(discriminator(real, *given), discriminator(fake, *given))
        if self.penalty:
            loss = loss + self.penalty * self._gradient_penalty(real, fake, share["mix"], given)
        self._descend("discriminator", loss)
        if self.weight_clip:
            with torch.no_grad():
                for parameter in discriminator.parameters():
                    parameter.clamp_(-self.weight_clip, self.weight_clip)
        return loss.detach()

    def _generate_better(self, share: Mapping[str, Tensor]) -> Tensor:
        given = self._given(share)
        fake = self._shown(self.model.generator(share["z"], *given), share, "fake_noise")
        loss = self.generator_loss(self.model.discriminator(fake, *given))
        self._descend("generator", loss)
        return loss.detach()

    def _shown(self, examples: Tensor, share: Mapping[str, Tensor], name: str) -> Tensor:
        """The examples as the discriminator is shown them."""
        if not self.instance_noise:
            return examples
        return examples + self.instance_noise * linear_decay(self.done, self.steps) * share[name]

    def _gradient_penalty(self, real: Tensor, fake: Tensor, mix: Tensor, given: tuple) -> Tensor:
        mix = mix.reshape(-1, *[1] * (real.ndim - 1))
        between = (mix * real + (1 - mix) * fake).requires_grad_(True)
        said = self.model.discriminator(between, *given)
        (slopes,) = torch.autograd.grad(said.sum(), between, create_graph=True)
        return (slopes.flatten(1).norm(2, dim=1) - 1).square().mean()

    def _descend(self, child: str, loss: Tensor) -> None:
        self.optimizers[child].zero_grad()
        loss.backward(inputs=list(getattr(self.model, child).parameters()))
        self.optimizers[child].step()

    @staticmethod
    def _real(share: Mapping[str, Tensor]) -> Tensor:
        return share["image"] if "image" in share else share["x"]

    @staticmethod
    def _given(share: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return (share["label"],) if "label" in share else ()
