"""The reference training step of each task, in plain PyTorch.

A step is built from a model and its optimizers and called with a batch (NCHW) and the random
numbers of the step; it trains the model in place and returns the losses. The certificate holds
the Flax step to these, and the benchmarks time against them.
"""

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


def sse_loss(output: Tensor, target: Tensor) -> Tensor:
    """The sum of the squared errors."""
    return F.mse_loss(output, target, reduction="sum")


SUPERVISED_LOSSES = {
    "cross_entropy": F.cross_entropy,
    "nll": F.nll_loss,
    "bce": F.binary_cross_entropy,
    "mse": F.mse_loss,
    "sse": sse_loss,
}
AUXILIARY = 0.3  # the weight of an auxiliary head's loss


class SupervisedStep:
    """One optimizer down one loss, on pictures and labels or on the x and y of a table."""

    def __init__(self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], loss: str):
        self.model, self.optimizer = model.train(), optimizers[""]
        self.loss = SUPERVISED_LOSSES[loss]

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        inputs, targets = (batch["image"], batch["label"]) if "image" in batch else (batch["x"], batch["y"])
        outputs = self.model(inputs)
        outputs, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = self.loss(outputs, targets)
        for more in auxiliary:
            loss = loss + AUXILIARY * self.loss(more, targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return self.metrics(loss.detach(), outputs.detach(), targets)

    def metrics(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"loss": loss}


class ClassifyStep(SupervisedStep):
    """Counts hits: the largest value, or the one probability at threshold 0.5."""

    def metrics(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        hits = (outputs >= 0.5) == (targets >= 0.5) if outputs.shape[1] == 1 else outputs.argmax(1) == targets
        return {"loss": loss, "accuracy": hits.to(loss.dtype).mean()}


class TagStep:
    """Cross-entropy over the words that there are: places with a negative tag do not count."""

    def __init__(self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer]):
        self.model, self.optimizer = model.train(), optimizers[""]

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        logits = self.model(batch["words"], batch["characters"], batch["lengths"])
        counted = batch["tags"] >= 0
        logits, tags = logits[counted], batch["tags"][counted].long()
        loss = F.cross_entropy(logits, tags)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        accuracy = (logits.argmax(1) == tags).to(loss.dtype).mean()
        return {"loss": loss.detach(), "accuracy": accuracy}


STEPS = {
    "gan": GANStep,
    "classify": ClassifyStep,
    "regress": SupervisedStep,
    "sequence": SupervisedStep,
    "language": ClassifyStep,
    "tag": TagStep,
}
