"""Greedy and beam decoding, of networks that write symbol by symbol and of CTC; all can be exported."""

from typing import Final

import torch
from torch import Tensor, nn


class Writer(nn.Module):
    """A network that gives the probabilities of the next symbol. A subclass adds `begin` and `advance`.

    The state between two symbols is a list of tensors with the batch axis first. A sequence ends with END;
    the entries after it are PADDING.
    """

    exported: tuple[str, ...] = ("greedy", "beam")
    PADDING: Final[int] = 0
    START: Final[int] = 1
    END: Final[int] = 2

    def begin(self, inputs: Tensor) -> list[Tensor]:
        """The state before the first symbol, for inputs (N, ...)."""
        raise NotImplementedError

    def advance(self, symbols: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """(log-probabilities of the next symbol (N, vocabulary), the next state), after symbols (N,) int."""
        raise NotImplementedError

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


def best_path(log_probabilities: Tensor, steps: Tensor) -> Tensor:
    """The labels (N, T) that the most probable symbols of a CTC network read as, padded with 0.

    log_probabilities: (N, T, C), of the symbols at every step; symbol 0 is the blank. steps: (N,) int, how
    many of the T steps count.
    """
    best = log_probabilities.argmax(2)
    before = torch.cat([torch.zeros_like(best[:, :1]), best[:, :-1]], dim=1)
    counted = torch.arange(best.shape[1], device=best.device) < steps[:, None]
    kept = (best != 0) & (best != before) & counted
    place = torch.where(kept, kept.cumsum(1) - 1, best.shape[1])
    labels = best.new_zeros(best.shape[0], best.shape[1] + 1)
    return labels.scatter(1, place, torch.where(kept, best, 0))[:, :-1]


def best_labels(log_probabilities: Tensor, steps: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """(labels (N, width, T), padded with 0, their log-probabilities (N, width)), the best first.

    A beam search over the labels: the probability of labels is that of all paths that read as them and whose
    beginnings are among the `width` most probable ones. With fewer labels than `width`, the rest has the
    score -inf. Arguments as of `best_path`. A. Hannun et al., "First-pass large vocabulary continuous speech
    recognition using bi-directional recurrent DNNs" (2014), without a language model.
    Errors: ValueError for a width below 1.
    """
    if width < 1:
        raise ValueError("width must be at least 1")
    count, longest, size = log_probabilities.shape
    device, never = log_probabilities.device, -float("inf")
    labels = torch.zeros((count, width, longest), dtype=torch.int64, device=device)
    lengths = torch.zeros((count, width), dtype=torch.int64, device=device)
    # The log-probabilities of the paths that end in a blank, and of the others.
    blank = torch.full((count, width), never, dtype=log_probabilities.dtype, device=device)
    symbol = blank.clone()
    blank[:, 0] = 0
    places = torch.arange(longest, device=device)
    symbols = torch.arange(size, device=device)
    for step in range(longest):
        scores = log_probabilities[:, step, None]  # (N, 1, C)
        either = torch.logaddexp(blank, symbol)
        last = labels.gather(2, (lengths - 1).clamp(min=0)[:, :, None])  # (N, width, 1); 0 without labels
        stay_blank = either + scores[:, :, 0]
        stay_symbol = symbol + scores.expand(-1, width, -1).gather(2, last)[:, :, 0]
        longer = torch.where(symbols == last, blank[:, :, None], either[:, :, None]) + scores
        longer = torch.where(symbols == 0, never, longer)
        # Where the labels of beam i and one more symbol are those of beam j, the paths of i go on in j.
        shorter = torch.where(places == lengths[:, :, None] - 1, 0, labels)
        same = (labels[:, :, None] == shorter[:, None]).all(3)  # (N, i, j)
        same = same & (lengths[:, :, None] + 1 == lengths[:, None]) & (either > never)[:, None]
        joining = longer.gather(2, last[:, None, :, 0].expand(-1, width, -1))  # (N, i, j)
        joining = torch.where(same, joining, never)
        stay_symbol = torch.logaddexp(stay_symbol, joining.logsumexp(1))
        joined = same[:, :, :, None] & (last[:, None] == symbols)  # (N, i, j, C)
        longer = torch.where(joined.any(2), never, longer)
        # The best of all, those without a new symbol first.
        stay = torch.logaddexp(stay_blank, stay_symbol)
        candidates = torch.cat([stay, longer.reshape(count, width * size)], dim=1)
        order = torch.sort(candidates, dim=1, descending=True, stable=True)[1][:, :width]
        grows = order >= width
        beam = torch.where(grows, (order - width).div(size, rounding_mode="floor"), order)
        added = torch.where(grows, (order - width) % size, 0)
        chosen = candidates.gather(1, order)
        new_blank = torch.where(grows, never, stay_blank.gather(1, beam))
        new_symbol = torch.where(grows, chosen, stay_symbol.gather(1, beam))
        new_lengths = lengths.gather(1, beam)
        new_labels = labels.gather(1, beam[:, :, None].expand(-1, -1, longest))
        at_end = (places == new_lengths[:, :, None]) & grows[:, :, None]
        new_labels = torch.where(at_end, added[:, :, None], new_labels)
        counted = (step < steps)[:, None]
        labels = torch.where(counted[:, :, None], new_labels, labels)
        lengths = torch.where(counted, new_lengths + grows.to(lengths.dtype), lengths)
        blank = torch.where(counted, new_blank, blank)
        symbol = torch.where(counted, new_symbol, symbol)
    return labels, torch.logaddexp(blank, symbol)
