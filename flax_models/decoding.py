"""Greedy and beam decoding of a network that writes a sequence symbol by symbol, inside jit."""

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
