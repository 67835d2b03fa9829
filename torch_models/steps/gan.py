"""Adversarial training: the losses of both halves, and the step that all of them share."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def bce_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z))) on logits: the mean over real plus the mean over fake."""
    return F.binary_cross_entropy_with_logits(
        real, torch.ones_like(real)
    ) + F.binary_cross_entropy_with_logits(fake, torch.zeros_like(fake))


def bce_generator_loss(fake: Tensor) -> Tensor:
    """-log D(G(z)) on logits."""
    return F.binary_cross_entropy_with_logits(fake, torch.ones_like(fake))


GAN_LOSSES = {"bce": (bce_discriminator_loss, bce_generator_loss)}


class GANStep:
    """One step of each optimizer: first the discriminator's, then the generator's.

    Both halves see the same noise; the generator runs anew for its own half, so that its batch
    statistics move twice a step. Gradients are taken for the trained half alone.
    """

    def __init__(self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], loss: str = "bce"):
        self.model, self.optimizers = model.train(), optimizers
        self.discriminator_loss, self.generator_loss = GAN_LOSSES[loss]

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        generator, discriminator = self.model.generator, self.model.discriminator
        with torch.no_grad():
            fake = generator(noise["z"])
        discriminator_loss = self.discriminator_loss(discriminator(batch["image"]), discriminator(fake))
        self._descend("discriminator", discriminator_loss)

        generator_loss = self.generator_loss(discriminator(generator(noise["z"])))
        self._descend("generator", generator_loss)
        return {
            "discriminator_loss": discriminator_loss.detach(),
            "generator_loss": generator_loss.detach(),
        }

    def _descend(self, child: str, loss: Tensor) -> None:
        self.optimizers[child].zero_grad()
        loss.backward(inputs=list(getattr(self.model, child).parameters()))
        self.optimizers[child].step()
