"""The training steps of supervised tasks: regression, classification and tagging."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn


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
AUXILIARY_WEIGHT = 0.3  # the weight of the loss of an auxiliary head


class SupervisedStep:
    """One optimizer step on one loss.

    The inputs and targets are the batch's "image" and "label" if it has images, and "x" and "y" otherwise.
    The only optimizer may train a child of the model. No gradients are computed for the other parameters.
    """

    def __init__(self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer], loss: str):
        self.model, (self.optimizer,) = model.train(), optimizers.values()
        trained = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
        for parameter in model.parameters():
            parameter.requires_grad_(id(parameter) in trained)
        self.loss = SUPERVISED_LOSSES[loss]

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        inputs, targets = (batch["image"], batch["label"]) if "image" in batch else (batch["x"], batch["y"])
        outputs = self.model(inputs)
        outputs, *auxiliary = outputs if isinstance(outputs, tuple) else (outputs,)
        loss = self.loss(outputs, targets)
        for auxiliary_outputs in auxiliary:
            loss = loss + AUXILIARY_WEIGHT * self.loss(auxiliary_outputs, targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return self.metrics(loss.detach(), outputs.detach(), targets)

    def metrics(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        return {"loss": loss}


class ClassifyStep(SupervisedStep):
    """A supervised step that also returns the accuracy.

    The prediction is the largest value, or a single probability compared with 0.5.
    """

    def metrics(self, loss: Tensor, outputs: Tensor, targets: Tensor) -> dict[str, Tensor]:
        if outputs.shape[1] == 1:
            correct = (outputs >= 0.5) == (targets >= 0.5)
        else:
            correct = outputs.argmax(1) == targets
        return {"loss": loss, "accuracy": correct.to(loss.dtype).mean()}


class TagStep:
    """One optimizer step on the cross-entropy over all words; entries with a negative tag are padding."""

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
