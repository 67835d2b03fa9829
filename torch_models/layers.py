"""Layers that torch.nn does not have: Maxout."""

from torch import Tensor, nn


class Maxout(nn.Linear):
    """The largest of `pieces` linear maps: (..., in_features) -> (..., out_features).

    weight is (out_features * pieces, in_features), bias (out_features * pieces,). The pieces of one output
    are adjacent. Both are initialised as in Linear. The gradient goes to the first largest piece. Goodfellow
    et al. 2013.

    Errors: ValueError for fewer than one piece.
    """

    def __init__(self, in_features: int, out_features: int, pieces: int):
        if pieces < 1:
            raise ValueError(f"Maxout needs at least one piece, got {pieces}")
        super().__init__(in_features, out_features * pieces)
        self.pieces = pieces

    def forward(self, input: Tensor) -> Tensor:
        y = nn.functional.linear(input, self.weight, self.bias)
        return y.unflatten(-1, [-1, self.pieces]).max(dim=-1)[0]
