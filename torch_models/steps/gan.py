"""The training step of GANs: the losses of discriminator and generator, and the step of all variants."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR
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


def translate(images: Tensor, shifts: Tensor) -> Tensor:
    """Images (N, C, H, W), each moved down and to the right by its shifts (N, 2); the border is repeated."""
    n, c, height, width = images.shape
    rows = (torch.arange(height, device=shifts.device) - shifts[:, :1]).clamp(0, height - 1)
    columns = (torch.arange(width, device=shifts.device) - shifts[:, 1:]).clamp(0, width - 1)
    moved_down = images.gather(2, rows[:, None, :, None].expand(n, c, height, width))
    return moved_down.gather(3, columns[:, None, None, :].expand(n, c, height, width))


class GANStep:
    """Discriminator steps, each on its split of the batch, then one generator step on the last split.

    Both kinds of step use the same latents, noise["latent"]. The generator is called in both kinds of step,
    so its running statistics are updated twice. Each step computes gradients only of the module that it
    trains. With `ema`, `average.module` is the generator with the moving average of its weights and of its
    running statistics. With `translation`, images are moved before the discriminator sees them: by
    noise["real_shift"] or noise["fake_shift"] (N, 2). With `instance_noise`, noise is added after that:
    noise["real_noise"] or noise["fake_noise"], which has the examples' shape, times a deviation that changes
    linearly from `instance_noise` to `final_instance_noise` over `steps`. After the fraction `decay_after` of
    `steps`, the learning rates fall linearly to 0. `done` is the number of steps already taken, for a run
    that continues.
    """

    def __init__(
        self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], loss: str = "bce",
        critic_steps: int = 1, weight_clip: float | None = None, gradient_penalty: float | None = None,
        translation: int | None = None, instance_noise: float | None = None,
        final_instance_noise: float = 0.0, ema: float | None = None, decay_after: float = 1.0,
        steps: int | None = None, done: int = 0,
    ):  # fmt: skip
        self.model, self.optimizers = model.train(), optimizers
        self.generator = model.get_submodule("generator")
        self.discriminator = model.get_submodule("discriminator")
        self.discriminator_loss, self.generator_loss = LOSSES[loss]
        self.critic_steps, self.weight_clip, self.penalty_weight = critic_steps, weight_clip, gradient_penalty
        self.translation, self.steps, self.done = translation, steps, done
        self.instance_noise, self.final_instance_noise = instance_noise, final_instance_noise
        self.schedules = [
            LambdaLR(optimizer, lambda step: linear_decay(done + step, steps, decay_after))
            for optimizer in optimizers.values()
        ]
        self.average = None
        if ema is not None:
            average_fn = get_ema_multi_avg_fn(ema)
            self.average = AveragedModel(self.generator, multi_avg_fn=average_fn, use_buffers=True)

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
        for schedule in self.schedules:
            schedule.step()
        self.done += 1
        return {"discriminator_loss": losses.mean(), "generator_loss": generator_loss}

    def _discriminator_step(self, split: Mapping[str, Tensor]) -> Tensor:
        generator, discriminator = self.generator, self.discriminator
        real, conditions = self._real_examples(split), self._conditions(split)
        with torch.no_grad():
            fake = generator(split["latent"], *conditions)
        real = self._augmented(real, split, "real")
        fake = self._augmented(fake, split, "fake")
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
        fake = self._augmented(fake, split, "fake")
        loss = self.generator_loss(self.discriminator(fake, *conditions))
        self._apply_gradients("generator", loss)
        return loss.detach()

    def _augmented(self, examples: Tensor, split: Mapping[str, Tensor], kind: str) -> Tensor:
        """The examples, moved, plus their noise: what the discriminator sees. kind: "real" or "fake"."""
        if self.translation:
            examples = translate(examples, split[f"{kind}_shift"])
        if self.instance_noise:
            first, final = self.instance_noise, self.final_instance_noise
            deviation = final + (first - final) * linear_decay(self.done, self.steps)
            examples = examples + deviation * split[f"{kind}_noise"]
        return examples

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
