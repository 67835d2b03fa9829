"""Greedy and beam decoding of a network that writes a sequence symbol by symbol. Both can be exported."""

from typing import Final

import torch
from torch import Tensor, nn


class Writer(nn.Module):
    """A network that gives the probabilities of the next symbol. A subclass adds `begin` and `advance`.

    The state between two symbols is a list of tensors with the batch axis first. A sequence ends with END;
    the entries after it are PADDING.
    """

    PADDING: Final[int] = 0
    START: Final[int] = 1
    END: Final[int] = 2

    def begin(self, inputs: Tensor) -> list[Tensor]:
        """The state before the first symbol, for inputs (N, ...)."""
        raise NotImplementedError

    def advance(self, symbols: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """(log-probabilities of the next symbol (N, vocabulary), the next state), after symbols (N,) int."""
        raise NotImplementedError

    @torch.jit.export
    def greedy(self, inputs: Tensor, max_length: int) -> Tensor:
        """The sequences (N, max_length) int64 of the most probable symbols, each after those before it.

        The first of equally probable symbols is taken. Errors: ValueError for a max_length below 1.
        """
        if max_length < 1:
            raise ValueError("max_length must be at least 1")
        state = self.begin(inputs)
        last = torch.full((inputs.shape[0],), self.START, dtype=torch.int64, device=inputs.device)
        ended = torch.zeros_like(last, dtype=torch.bool)
        sequences = torch.full(
            (inputs.shape[0], max_length), self.PADDING, dtype=torch.int64, device=inputs.device
        )
        position = 0
        while position < max_length and not bool(ended.all()):
            scores, state = self.advance(last, state)
            last = torch.where(ended, self.PADDING, scores.argmax(1))
            sequences[:, position] = last
            ended = ended | (last == self.END)
            position += 1
        return sequences

    @torch.jit.export
    def beam(self, inputs: Tensor, width: int, max_length: int) -> tuple[Tensor, Tensor]:
        """(sequences (N, width, max_length) int64, their log-probabilities (N, width)), the best first.

        In every step the `width` most probable beginnings are kept. Of equal ones it keeps first what comes
        from the better beginning, and then the smaller symbol. With fewer sequences than `width`, the rest
        has the score -inf. Errors: ValueError for a width or a max_length below 1.
        """
        if min(width, max_length) < 1:
            raise ValueError("width and max_length must be at least 1")
        state = [part.repeat_interleave(width, 0) for part in self.begin(inputs)]
        count = inputs.shape[0]
        first_row = torch.arange(count, device=inputs.device)[:, None] * width
        last = torch.full((count * width,), self.START, dtype=torch.int64, device=inputs.device)
        ended = torch.zeros_like(last, dtype=torch.bool)
        sequences = torch.full(
            (count * width, max_length), self.PADDING, dtype=torch.int64, device=inputs.device
        )
        total = torch.zeros((0,), device=inputs.device)
        position = 0
        while position < max_length and not bool(ended.all()):
            scores, state = self.advance(last, state)
            size = scores.shape[1]
            if position == 0:  # the beginnings are equal, so only the first one counts
                total = torch.full((count, width), -float("inf"), dtype=scores.dtype, device=scores.device)
                total[:, 0] = 0
            only_padding = torch.full_like(scores, -float("inf"))
            only_padding[:, self.PADDING] = 0  # what has ended goes on with padding, at no cost
            scores = torch.where(ended[:, None], only_padding, scores)
            candidates = (total[:, :, None] + scores.view(count, width, size)).view(count, width * size)
            ordered, order = torch.sort(candidates, dim=1, descending=True, stable=True)
            total, order = ordered[:, :width], order[:, :width]
            rows = (first_row + order.div(size, rounding_mode="floor")).view(-1)
            last = (order % size).view(-1)
            state = [part[rows] for part in state]
            sequences = sequences[rows]
            sequences[:, position] = last
            ended = ended[rows] | (last == self.END)
            position += 1
        return sequences.view(count, width, max_length), total
