"""The training step of GANs: the losses of discriminator and generator, and the step of all variants."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from torch_models.steps.decay import linear_decay


def bce_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) on logits: the mean over real plus the mean over fake examples."""
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
    """Half of -log D(x) - log(1 - D(G(z))) on probabilities."""
    return probability_discriminator_loss(real, fake) / 2


def probability_generator_loss(fake: Tensor) -> Tensor:
    """-log D(G(z)) on probabilities."""
    return F.binary_cross_entropy(fake, torch.ones_like(fake))


def minimax_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-mean(log D(x) + log(1 - D(G(z)))) on probabilities, as in the paper."""
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
    """D(G(z)) - D(x), the negated Wasserstein estimate; D is a critic with unbounded output."""
    return fake.mean() - real.mean()


def wasserstein_generator_loss(fake: Tensor) -> Tensor:
    """-D(G(z)), for an unbounded critic."""
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
    """Discriminator steps, each on its split of the batch, then one generator step on the last split.

    Both kinds of step use the same latents, noise["latent"]. The generator is called in both kinds of step,
    so its running statistics are updated twice. Each step computes gradients only of the module that it
    trains. With `ema`, `average.module` is the generator with the moving average of its weights. With
    `instance_noise`, noise is added to the examples before the discriminator sees them: noise["real_noise"]
    or noise["fake_noise"], which has the examples' shape, times `instance_noise`, times the fraction of
    `steps` that remains. `done` is the number of steps already taken, for a run that continues.
    """

    def __init__(
        self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], loss: str = "bce",
        critic_steps: int = 1, weight_clip: float | None = None, gradient_penalty: float | None = None,
        instance_noise: float | None = None, ema: float | None = None, steps: int | None = None,
        done: int = 0,
    ):  # fmt: skip
        self.model, self.optimizers = model.train(), optimizers
        self.generator = model.get_submodule("generator")
        self.discriminator = model.get_submodule("discriminator")
        self.discriminator_loss, self.generator_loss = LOSSES[loss]
        self.critic_steps, self.weight_clip, self.penalty_weight = critic_steps, weight_clip, gradient_penalty
        self.instance_noise, self.steps, self.done = instance_noise, steps, done
        self.average = None
        if ema is not None:
            self.average = AveragedModel(self.generator, multi_avg_fn=get_ema_multi_avg_fn(ema))

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        tensors = {**batch, **noise}
        batch_splits = [
            {name: tensor.tensor_split(self.critic_steps)[n] for name, tensor in tensors.items()}
            for n in range(self.critic_steps)
        ]
        losses = torch.stack([self._discriminator_step(split) for split in batch_splits])
        generator_loss = self._generator_step(batch_splits[-1])
        if self.average is not None:
            self.average.update_parameters(self.generator)
        self.done += 1
        return {"discriminator_loss": losses.mean(), "generator_loss": generator_loss}

    def _discriminator_step(self, split: Mapping[str, Tensor]) -> Tensor:
        generator, discriminator = self.generator, self.discriminator
        real, conditions = self._real_examples(split), self._conditions(split)
        with torch.no_grad():
            fake = generator(split["latent"], *conditions)
        real = self._add_instance_noise(real, split, "real_noise")
        fake = self._add_instance_noise(fake, split, "fake_noise")
        loss = self.discriminator_loss(discriminator(real, *conditions), discriminator(fake, *conditions))
        if self.penalty_weight:
            loss = loss + self.penalty_weight * self._gradient_penalty(real, fake, split["mix"], conditions)
        self._apply_gradients("discriminator", loss)
        if self.weight_clip:
            with torch.no_grad():
                for parameter in discriminator.parameters():
                    parameter.clamp_(-self.weight_clip, self.weight_clip)
        return loss.detach()

    def _generator_step(self, split: Mapping[str, Tensor]) -> Tensor:
        conditions = self._conditions(split)
        fake = self.generator(split["latent"], *conditions)
        fake = self._add_instance_noise(fake, split, "fake_noise")
        loss = self.generator_loss(self.discriminator(fake, *conditions))
        self._apply_gradients("generator", loss)
        return loss.detach()

    def _add_instance_noise(self, examples: Tensor, split: Mapping[str, Tensor], name: str) -> Tensor:
        """The examples plus the noise of this name, as input of the discriminator."""
        if not self.instance_noise:
            return examples
        return examples + self.instance_noise * linear_decay(self.done, self.steps) * split[name]

    def _gradient_penalty(self, real: Tensor, fake: Tensor, mix: Tensor, conditions: tuple) -> Tensor:
        mix = mix.reshape(-1, *[1] * (real.ndim - 1))
        mixed = (mix * real + (1 - mix) * fake).requires_grad_(True)
        scores = self.discriminator(mixed, *conditions)
        (gradients,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
        return (gradients.flatten(1).norm(2, dim=1) - 1).square().mean()

    def _apply_gradients(self, child: str, loss: Tensor) -> None:
        self.optimizers[child].zero_grad()
        loss.backward(inputs=list(self.model.get_submodule(child).parameters()))
        self.optimizers[child].step()

    @staticmethod
    def _real_examples(split: Mapping[str, Tensor]) -> Tensor:
        return split["image"] if "image" in split else split["x"]

    @staticmethod
    def _conditions(split: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        return (split["label"],) if "label" in split else ()
