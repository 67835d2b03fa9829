"""Learning to give back what came in."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from torch_models.steps.supervised import sse_loss


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """From N(mean, exp(logvar)) to N(0, 1): the sum over all values."""
    return -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())


class AutoencodeStep:
    """One optimizer down the sum of the squared errors over the batch size, or with the KL divergence.

    sse: on a model that gives (code, output). vae: on one that takes the step's eps and gives (output,
    mean, logvar); its two parts are metrics too.
    """

    def __init__(self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], loss: str = "sse"):
        self.model, self.optimizer = model.train(), optimizers[""]
        self.losses = {"sse": self._plain, "vae": self._variational}[loss]

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        losses = self.losses(batch["image"], noise)
        self.optimizer.zero_grad()
        losses["loss"].backward()
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _plain(self, images: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        _, outputs = self.model(images)
        return {"loss": sse_loss(outputs, images) / len(images)}

    def _variational(self, images: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs, mean, logvar = self.model(images, noise["eps"])
        reconstruction = sse_loss(outputs, images) / len(images)
        kl = kl_divergence(mean, logvar) / len(images)
        return {"loss": reconstruction + kl, "reconstruction_loss": reconstruction, "kl_loss": kl}
