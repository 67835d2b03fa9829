"""The training step of autoencoders: reconstruction, with the KL divergence for a variational one."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from torch_models.steps.supervised import sse_loss


def kl_divergence(mean: Tensor, logvar: Tensor) -> Tensor:
    """The KL divergence of N(mean, exp(logvar)) from N(0, 1), summed over all values."""
    return -0.5 * torch.sum(1 + logvar - mean.pow(2) - logvar.exp())


class AutoencodeStep:
    """One optimizer step on the sum of the squared errors divided by the batch size.

    loss="sse" is for a model that returns (latent, output). loss="vae" is for a model that takes the step's
    noise["eps"] and returns (output, mean, logvar); it adds the KL divergence and returns both parts as
    metrics.
    """

    def __init__(self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], loss: str = "sse"):
        self.model, self.optimizer = model.train(), optimizers[""]
        self.losses = {"sse": self._sse_losses, "vae": self._vae_losses}[loss]

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        losses = self.losses(batch["image"], noise)
        self.optimizer.zero_grad()
        losses["loss"].backward()
        self.optimizer.step()
        return {name: loss.detach() for name, loss in losses.items()}

    def _sse_losses(self, images: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        _, outputs = self.model(images)
        return {"loss": sse_loss(outputs, images) / len(images)}

    def _vae_losses(self, images: Tensor, noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        outputs, mean, logvar = self.model(images, noise["eps"])
        reconstruction = sse_loss(outputs, images) / len(images)
        kl = kl_divergence(mean, logvar) / len(images)
        return {"loss": reconstruction + kl, "reconstruction_loss": reconstruction, "kl_loss": kl}
