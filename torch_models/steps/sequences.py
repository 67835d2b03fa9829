"""The training steps of networks whose targets are sequences: writing symbol by symbol, and CTC."""

from collections.abc import Mapping
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

PADDING = 0


class WritingStep:
    """One optimizer step on the cross-entropy over all symbols of the target; PADDING does not count."""

    inputs: ClassVar[str]
    target: ClassVar[str]

    def __init__(self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer]):
        self.model, self.optimizer = model.train(), optimizers[""]

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        target = batch[self.target].long()
        logits = self.model(batch[self.inputs], target[:, :-1]).flatten(0, 1)
        symbols = target[:, 1:].flatten()
        loss = F.cross_entropy(logits, symbols, ignore_index=PADDING)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        counted = symbols != PADDING
        accuracy = (logits.argmax(1) == symbols)[counted].to(loss.dtype).mean()
        return {"loss": loss.detach(), "accuracy": accuracy}


class RewriteStep(WritingStep):
    """A text is written as another text."""

    inputs, target = "source", "target"


class CaptionStep(WritingStep):
    """A caption is written for an image."""

    inputs, target = "image", "caption"


class ReadStep:
    """One optimizer step on the CTC loss of lines."""

    def __init__(self, model: nn.Module, optimizers: Mapping[str, torch.optim.Optimizer]):
        self.model, self.optimizer = model.train(), optimizers[""]

    def __call__(self, batch: Mapping[str, Tensor], noise: Mapping[str, Tensor]) -> dict[str, Tensor]:
        log_probabilities = self.model(batch["image"], batch["width"]).transpose(0, 1)
        steps = batch["width"].long() // 4
        labels, lengths = batch["label"].long(), batch["length"].long()
        loss = F.ctc_loss(log_probabilities, labels, steps, lengths, zero_infinity=True)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"loss": loss.detach()}
