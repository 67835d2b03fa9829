"""The training step of CycleGAN: adversarial, cycle and identity losses, and the image pool."""

from collections.abc import Mapping
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from torch_models.steps.decay import linear_decay

GENERATORS, DISCRIMINATORS = ("generator_ab", "generator_ba"), ("discriminator_a", "discriminator_b")


class ImagePool:
    """A pool of earlier generated images for the discriminator. Shrivastava et al. 2017.

    Until the pool has `size` images, each new image is stored and returned. After that, a new image is only
    returned, unless its chance is above 1/2. Then it replaces the image in its slot, and the replaced image
    is returned.
    """

    def __init__(self, size: int):
        self.size = size
        self.images: list[Tensor] = []

    def query(self, images: Tensor, chances: Tensor, slots: Tensor) -> Tensor:
        """The images to show, one for each new image (N, C, H, W). chances (N,) are in [0, 1); slots (N,)."""
        returned = []
        for image, chance, slot in zip(images, chances.tolist(), slots.tolist(), strict=True):
            if len(self.images) < self.size:
                self.images.append(image)
            elif self.size and chance > 0.5:
                image, self.images[slot] = self.images[slot], image
            returned.append(image)
        return torch.stack(returned)


def least_squares(scores: Tensor, target: float) -> Tensor:
    """The mean squared distance of the patches' scores from the target: 1 is real, 0 is generated."""
    return F.mse_loss(scores, torch.full_like(scores, target))


class CycleGANStep:
    """A generator step for both generators, then a discriminator step for both discriminators.

    The discriminators see images that the generators made before their step. decay_after: the fraction of
    `steps` after which the learning rates fall linearly to 0. Without `steps` they are constant.
    """

    def __init__(
        self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], *, cycle_weight: float,
        identity_weight: float, pool_size: int, decay_after: float, steps: int | None,
    ):  # fmt: skip
        self.model, self.optimizers = model.train(), optimizers
        self.cycle_weight, self.identity_weight = cycle_weight, identity_weight
        self.pool_a, self.pool_b = ImagePool(pool_size), ImagePool(pool_size)
        factor = partial(linear_decay, steps=steps, after=decay_after)
        self.schedules = {child: LambdaLR(optimizer, factor) for child, optimizer in optimizers.items()}

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        real_a, real_b = batch["a"], batch["b"]
        generator_ab, generator_ba = (self.model.get_submodule(name) for name in GENERATORS)
        discriminator_a, discriminator_b = (self.model.get_submodule(name) for name in DISCRIMINATORS)
        fake_b, fake_a = generator_ab(real_a), generator_ba(real_b)
        adversarial = least_squares(discriminator_b(fake_b), 1.0)
        adversarial = adversarial + least_squares(discriminator_a(fake_a), 1.0)
        cycle = F.l1_loss(generator_ba(fake_b), real_a) + F.l1_loss(generator_ab(fake_a), real_b)
        identity = F.l1_loss(generator_ab(real_b), real_b) + F.l1_loss(generator_ba(real_a), real_a)
        loss = adversarial + self.cycle_weight * cycle + self.identity_weight * identity
        losses = {"adversarial_loss": adversarial, "cycle_loss": cycle, "identity_loss": identity}
        self._apply_gradients(GENERATORS, loss)

        (chance_a, chance_b), (slot_a, slot_b) = noise["chance"], noise["slot"]
        past_a = self.pool_a.query(fake_a.detach(), chance_a, slot_a)
        past_b = self.pool_b.query(fake_b.detach(), chance_b, slot_b)
        loss_a = self._discriminator_loss(discriminator_a, real_a, past_a)
        loss_b = self._discriminator_loss(discriminator_b, real_b, past_b)
        self._apply_gradients(DISCRIMINATORS, loss_a + loss_b)
        losses |= {"generator_loss": loss, "discriminator_a_loss": loss_a, "discriminator_b_loss": loss_b}
        return {name: value.detach() for name, value in losses.items()}

    def _discriminator_loss(self, discriminator: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
        return (least_squares(discriminator(real), 1.0) + least_squares(discriminator(fake), 0.0)) / 2

    def _apply_gradients(self, children: tuple[str, str], loss: Tensor) -> None:
        parameters = [p for child in children for p in self.model.get_submodule(child).parameters()]
        for child in children:
            self.optimizers[child].zero_grad()
        loss.backward(inputs=parameters)
        for child in children:
            self.optimizers[child].step()
            self.schedules[child].step()
