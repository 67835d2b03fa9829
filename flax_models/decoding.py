"""Greedy and beam decoding, of networks that write symbol by symbol and of CTC; all inside jit."""

from typing import Final

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

State = list[jax.Array]


class Writer(nnx.Module):
    """A network that gives the probabilities of the next symbol. A subclass adds `begin` and `advance`.

    The state between two symbols is a list of arrays with the batch axis first. A sequence ends with END; the
    entries after it are PADDING.
    """

    PADDING: Final[int] = 0
    START: Final[int] = 1
    END: Final[int] = 2

    def begin(self, inputs: jax.Array) -> State:
        """The state before the first symbol, for inputs (N, ...)."""
        raise NotImplementedError

    def advance(self, symbols: jax.Array, state: State) -> tuple[jax.Array, State]:
        """(log-probabilities of the next symbol (N, vocabulary), the next state), after symbols (N,) int."""
        raise NotImplementedError

    def greedy(self, inputs: jax.Array, max_length: int) -> jax.Array:
        """The sequences (N, max_length) int32 of the most probable symbols, each after those before it.

        The first of equally probable symbols is taken. Errors: ValueError for a max_length below 1.
        """
        if max_length < 1:
            raise ValueError("max_length must be at least 1")
        count = inputs.shape[0]

        def step(carry):
            position, sequences, last, ended, state = carry
            scores, state = self.advance(last, state)
            last = jnp.where(ended, self.PADDING, scores.argmax(1).astype(jnp.int32))
            return position + 1, sequences.at[:, position].set(last), last, ended | (last == self.END), state

        sequences = jnp.full((count, max_length), self.PADDING, jnp.int32)
        last, ended = jnp.full(count, self.START, jnp.int32), jnp.zeros(count, bool)
        start = jnp.zeros((), jnp.int32), sequences, last, ended, self.begin(inputs)
        return lax.while_loop(_continues(max_length), step, start)[1]

    def beam(self, inputs: jax.Array, width: int, max_length: int) -> tuple[jax.Array, jax.Array]:
        """(sequences (N, width, max_length) int32, their log-probabilities (N, width)), the best first.

        In every step the `width` most probable beginnings are kept. Of equal ones it keeps first what comes
        from the better beginning, and then the smaller symbol. With fewer sequences than `width`, the rest
        has the score -inf. Errors: ValueError for a width or a max_length below 1.
        """
        if min(width, max_length) < 1:
            raise ValueError("width and max_length must be at least 1")
        count = inputs.shape[0]
        first_row = jnp.arange(count, dtype=jnp.int32)[:, None] * width

        def step(carry):
            position, sequences, last, ended, state, total = carry
            scores, state = self.advance(last, state)
            size = scores.shape[1]
            # What has ended goes on with padding, at no cost.
            only_padding = jnp.full_like(scores, -jnp.inf).at[:, self.PADDING].set(0)
            scores = jnp.where(ended[:, None], only_padding, scores)
            candidates = (total[:, :, None] + scores.reshape(count, width, size)).reshape(count, -1)
            total, order = lax.top_k(candidates, width)  # the first of equal ones first
            rows, last = (first_row + order // size).reshape(-1), (order % size).reshape(-1)
            state = [part[rows] for part in state]
            sequences = sequences[rows].at[:, position].set(last)
            return position + 1, sequences, last, ended[rows] | (last == self.END), state, total

        state = [part.repeat(width, axis=0) for part in self.begin(inputs)]
        rows = count * width
        sequences = jnp.full((rows, max_length), self.PADDING, jnp.int32)
        last, ended = jnp.full(rows, self.START, jnp.int32), jnp.zeros(rows, bool)
        dtype = jax.eval_shape(self.advance, last, state)[0].dtype
        total = jnp.full((count, width), -jnp.inf, dtype).at[:, 0].set(0)  # the beginnings are equal
        start = jnp.zeros((), jnp.int32), sequences, last, ended, state, total
        _, sequences, _, _, _, total = lax.while_loop(_continues(max_length), step, start)
        return sequences.reshape(count, width, max_length), total


def _continues(max_length: int):
    """The condition of a loop whose carry starts with (position, sequences, last symbols, ended)."""

    def continues(carry):
        position, _, _, ended, *_ = carry
        return (position < max_length) & ~ended.all()

    return continues


def best_path(log_probabilities: jax.Array, steps: jax.Array) -> jax.Array:
    """The labels (N, T) that the most probable symbols of a CTC network read as, padded with 0.

    log_probabilities: (N, T, C), of the symbols at every step; symbol 0 is the blank. steps: (N,) int, how
    many of the T steps count.
    """
    best = log_probabilities.argmax(2).astype(jnp.int32)
    before = jnp.pad(best[:, :-1], ((0, 0), (1, 0)))
    counted = jnp.arange(best.shape[1], dtype=steps.dtype) < steps[:, None]
    kept = (best != 0) & (best != before) & counted
    place = jnp.where(kept, kept.cumsum(1, dtype=jnp.int32) - 1, best.shape[1])
    rows = jnp.arange(best.shape[0])[:, None]
    return jnp.zeros_like(best).at[rows, place].set(best, mode="drop")


def best_labels(log_probabilities: jax.Array, steps: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
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
    never = jnp.array(-jnp.inf, log_probabilities.dtype)
    places = jnp.arange(longest, dtype=jnp.int32)
    symbols = jnp.arange(size, dtype=jnp.int32)

    def take(values: jax.Array, beam: jax.Array) -> jax.Array:
        return jnp.take_along_axis(values, beam, axis=1)

    def advance(carry, inputs):
        labels, lengths, blank, symbol = carry
        step, scores = inputs
        scores = scores[:, None]  # (N, 1, C)
        either = jnp.logaddexp(blank, symbol)
        last = jnp.take_along_axis(labels, jnp.maximum(lengths - 1, 0)[:, :, None], axis=2)  # (N, width, 1)
        stay_blank = either + scores[:, :, 0]
        stay_symbol = symbol + jnp.take_along_axis(scores, last, axis=2)[:, :, 0]
        longer = jnp.where(symbols == last, blank[:, :, None], either[:, :, None]) + scores
        longer = jnp.where(symbols == 0, never, longer)
        # Where the labels of beam i and one more symbol are those of beam j, the paths of i go on in j.
        shorter = jnp.where(places == lengths[:, :, None] - 1, 0, labels)
        same = (labels[:, :, None] == shorter[:, None]).all(3)  # (N, i, j)
        same = same & (lengths[:, :, None] + 1 == lengths[:, None]) & (either > never)[:, None]
        joining = jnp.take_along_axis(longer, last[:, None, :, 0], axis=2)  # (N, i, j)
        joining = jnp.where(same, joining, never)
        stay_symbol = jnp.logaddexp(stay_symbol, jax.nn.logsumexp(joining, axis=1))
        joined = same[:, :, :, None] & (last[:, None] == symbols)  # (N, i, j, C)
        longer = jnp.where(joined.any(2), never, longer)
        # The best of all, those without a new symbol first.
        stay = jnp.logaddexp(stay_blank, stay_symbol)
        candidates = jnp.concatenate([stay, longer.reshape(count, width * size)], axis=1)
        chosen, order = lax.top_k(candidates, width)
        grows = order >= width
        beam = jnp.where(grows, (order - width) // size, order)
        added = jnp.where(grows, (order - width) % size, 0)
        new_blank = jnp.where(grows, never, take(stay_blank, beam))
        new_symbol = jnp.where(grows, chosen, take(stay_symbol, beam))
        new_lengths, new_labels = take(lengths, beam), take(labels, beam[:, :, None])
        at_end = (places == new_lengths[:, :, None]) & grows[:, :, None]
        new_labels = jnp.where(at_end, added[:, :, None], new_labels)
        new = new_labels, new_lengths + grows.astype(jnp.int32), new_blank, new_symbol
        counted = (step < steps)[:, None]
        old = labels, lengths, blank, symbol
        kept = [
            jnp.where(counted[..., None] if n.ndim == 3 else counted, n, o)
            for n, o in zip(new, old, strict=True)
        ]
        return tuple(kept), None

    # The log-probabilities of the paths that end in a blank, and of the others.
    symbol = jnp.full((count, width), never)
    start = (
        jnp.zeros((count, width, longest), jnp.int32), jnp.zeros((count, width), jnp.int32),
        symbol.at[:, 0].set(0), symbol,
    )  # fmt: skip
    inputs = jnp.arange(longest, dtype=steps.dtype), log_probabilities.swapaxes(0, 1)
    (labels, _, blank, symbol), _ = lax.scan(advance, start, inputs)
    return labels, jnp.logaddexp(blank, symbol)
