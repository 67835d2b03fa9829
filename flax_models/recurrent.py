"""Networks on sequences: regressors of time series, a trigram language model, a part-of-speech tagger."""

import jax
import jax.numpy as jnp
from flax import nnx

from flax_models import layers as nn


class _Regressor(nnx.Module):
    """Windows of values (T, N, input_features) -> the next value at every step (T, N, 1).

    A recurrent network with num_layers layers of hidden_features units starts from a zero state; one linear
    layer follows. A subclass sets `layer`.
    """

    layer: type[nn.RNN | nn.LSTM | nn.GRU]

    def __init__(
        self, input_features: int = 2, hidden_features: int = 4, num_layers: int = 2, *, rngs: nnx.Rngs
    ):
        self.rnn = self.layer(input_features, hidden_features, num_layers, rngs=rngs)
        self.fc = nn.Linear(hidden_features, 1, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        output, _ = self.rnn(x)
        return self.fc(output)


class LSTMRegressor(_Regressor):
    __doc__ = _Regressor.__doc__
    layer = nn.LSTM


class RNNRegressor(_Regressor):
    __doc__ = _Regressor.__doc__
    layer = nn.RNN


class GRURegressor(_Regressor):
    __doc__ = _Regressor.__doc__
    layer = nn.GRU


class NGramLanguageModel(nnx.Module):
    """Two words (N, 2) int -> logits of the next word (N, vocabulary_size).

    Y. Bengio et al., "A neural probabilistic language model" (2003).
    """

    def __init__(
        self, vocabulary_size: int = 97, embedding_features: int = 10, hidden_features: int = 128,
        *, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.embedding = nn.Embedding(vocabulary_size, embedding_features, rngs=rngs)
        self.fc = nn.Sequential(
            nn.Linear(2 * embedding_features, hidden_features, rngs=rngs),
            nn.ReLU(),
            nn.Linear(hidden_features, vocabulary_size, rngs=rngs),
        )

    def __call__(self, words: jax.Array) -> jax.Array:
        x = self.embedding(words)
        return self.fc(x.reshape(x.shape[0], -1))


class LSTMTagger(nnx.Module):
    """Words of sentences -> logits of their tags (N, L, num_tags).

    words: (N, L) int. characters: (N, L, C) int, the letters of each word. lengths: (N, L) int, the number of
    letters of each word, at least 1. Letters after the end of a word have no effect on the logits, and words
    after the end of a sentence have none on those before. The last row of each embedding is for unknown words
    and letters.
    """

    def __init__(
        self, vocabulary_size: int = 8, num_tags: int = 3, word_features: int = 100,
        alphabet_size: int = 26, character_features: int = 10, character_hidden: int = 50,
        hidden_features: int = 128, *, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.word_embedding = nn.Embedding(vocabulary_size + 1, word_features, rngs=rngs)
        self.character_embedding = nn.Embedding(alphabet_size + 1, character_features, rngs=rngs)
        self.character_lstm = nn.LSTM(character_features, character_hidden, batch_first=True, rngs=rngs)
        self.lstm = nn.LSTM(word_features + character_hidden, hidden_features, batch_first=True, rngs=rngs)
        self.fc = nn.Linear(hidden_features, num_tags, rngs=rngs)

    def __call__(self, words: jax.Array, characters: jax.Array, lengths: jax.Array) -> jax.Array:
        spelling = self.character_embedding(characters.reshape(-1, characters.shape[-1]))
        output, _ = self.character_lstm(spelling)  # (N * L, C, character_hidden)
        last = lengths.reshape(-1, 1, 1) - 1
        spelling = jnp.take_along_axis(output, last, axis=1).reshape(*words.shape, -1)
        x = jnp.concatenate([self.word_embedding(words), spelling], axis=-1)
        output, _ = self.lstm(x)
        return self.fc(output)


MODELS = {
    "lstm_regressor": LSTMRegressor,
    "rnn_regressor": RNNRegressor,
    "gru_regressor": GRURegressor,
    "ngram_lm": NGramLanguageModel,
    "lstm_tagger": LSTMTagger,
}
