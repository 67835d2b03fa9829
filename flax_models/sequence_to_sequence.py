"""Sequences to sequences: a text as another text, a line of symbols as its text, an image as its caption."""

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from flax_models import layers as nn
from flax_models.decoding import State, Writer, best_labels, best_path


class Bidirectional(nnx.Module):
    """Two recurrent layers that read padded sequences in both directions: (N, L, F) -> (N, L, 2 H).

    The second one reads from the last step of each sequence to its first. The padding changes no output
    before it.
    """

    def __init__(self, onwards: nn.GRU | nn.LSTM, backwards: nn.GRU | nn.LSTM):
        self.onwards, self.backwards = onwards, backwards

    def __call__(self, x: jax.Array, lengths: jax.Array) -> jax.Array:
        onwards, _ = self.onwards(x)
        backwards, _ = self.backwards(reverse_sequences(x, lengths))
        return jnp.concatenate([onwards, reverse_sequences(backwards, lengths)], axis=-1)


def reverse_sequences(x: jax.Array, lengths: jax.Array) -> jax.Array:
    """The sequences (N, L, F) with their first `lengths` (N,) steps in the opposite order."""
    steps = jnp.arange(x.shape[1], dtype=lengths.dtype)
    lengths = lengths[:, None]
    rows = jnp.where(steps < lengths, lengths - 1 - steps, steps)  # (N, L)
    return jnp.take_along_axis(x, rows[:, :, None], axis=1)


class AdditiveAttention(nnx.Module):
    """The weights of S entries of a memory, and their weighted mean. Bahdanau et al. 2015.

    The score of an entry is v . tanh(W query + U entry). One bias is enough for the sum, and a bias of the
    score would change no weight.
    """

    def __init__(
        self, query_features: int, memory_features: int, hidden_features: int, *, rngs: nnx.Rngs
    ):  # fmt: skip
        self.query = nn.Linear(query_features, hidden_features, bias=False, rngs=rngs)
        self.key = nn.Linear(memory_features, hidden_features, rngs=rngs)
        self.score = nn.Linear(hidden_features, 1, bias=False, rngs=rngs)

    def __call__(
        self, query: jax.Array, memory: jax.Array, keys: jax.Array, valid: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
        """(mean of the memory (N, F), weights (N, S)).

        query: (N, Q). memory: (N, S, F). keys: (N, S, hidden_features), `self.key` of the memory. valid:
        (N, S) bool; the other entries have the weight 0.
        """
        scores = self.score(jnp.tanh(self.query(query)[:, None] + keys))[:, :, 0]
        weights = jax.nn.softmax(jnp.where(valid, scores, -jnp.inf), axis=1)
        return (weights[:, None] @ memory)[:, 0], weights


class Seq2Seq(Writer):
    """A source text and the beginning of a target text -> logits of the next symbol (N, T, target_size).

    source: (N, S) int; the entries after the last one that is not 0 are padding and change nothing. target:
    (N, T) int, from START on; the logits at a step depend on the symbols up to this step.

    A bidirectional GRU reads the source. A GRU writes the target: each step takes the last symbol and the
    mean of the source's states that attention weights. It starts from the state in which the reverse
    direction has read all of the source. D. Bahdanau, K. Cho and Y. Bengio, "Neural machine translation by
    jointly learning to align and translate" (2015), with one linear layer in place of the paper's maxout
    before the softmax.
    """

    def __init__(
        self, source_size: int = 200, target_size: int = 15, embedding_features: int = 64,
        hidden_features: int = 128, *, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.source_embedding = nn.Embedding(source_size, embedding_features, rngs=rngs)
        self.encoder = Bidirectional(
            nn.GRU(embedding_features, hidden_features, batch_first=True, rngs=rngs),
            nn.GRU(embedding_features, hidden_features, batch_first=True, rngs=rngs),
        )
        self.bridge = nn.Linear(hidden_features, hidden_features, rngs=rngs)
        self.attention = AdditiveAttention(hidden_features, 2 * hidden_features, hidden_features, rngs=rngs)
        self.target_embedding = nn.Embedding(target_size, embedding_features, rngs=rngs)
        self.decoder = nn.GRUCell(embedding_features + 2 * hidden_features, hidden_features, rngs=rngs)
        self.fc = nn.Linear(hidden_features, target_size, rngs=rngs)

    def __call__(self, source: jax.Array, target: jax.Array) -> jax.Array:
        return self.attend(source, target)[0]

    def attend(self, source: jax.Array, target: jax.Array) -> tuple[jax.Array, jax.Array]:
        """(logits (N, T, target_size), the weights of the source at every step (N, T, S))."""
        start, *of_source = self.begin(source)

        def step(hidden: jax.Array, embedded: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            hidden, weights = self._step(embedded, [hidden, *of_source])
            return hidden, (hidden, weights)

        embedded = self.target_embedding(target)
        _, (hiddens, weights) = lax.scan(step, start, embedded.swapaxes(0, 1))
        return self.fc(hiddens.swapaxes(0, 1)), weights.swapaxes(0, 1)

    def begin(self, inputs: jax.Array) -> State:
        """[hidden state (N, H), memory (N, S, 2 H), keys (N, S, H), valid (N, S)] for a source (N, S)."""
        steps = jnp.arange(1, inputs.shape[1] + 1, dtype=jnp.int32)
        lengths = jnp.where(inputs != self.PADDING, steps, 1).max(1)
        memory = self.encoder(self.source_embedding(inputs), lengths)
        read_all = memory[:, 0, memory.shape[2] // 2 :]
        hidden = jnp.tanh(self.bridge(read_all))
        return [hidden, memory, self.attention.key(memory), steps <= lengths[:, None]]

    def advance(self, symbols: jax.Array, state: State) -> tuple[jax.Array, State]:
        hidden, _ = self._step(self.target_embedding(symbols), state)
        return jax.nn.log_softmax(self.fc(hidden), axis=1), [hidden, *state[1:]]

    def _step(self, embedded: jax.Array, state: State) -> tuple[jax.Array, jax.Array]:
        """(the next hidden state (N, H), the weights of the source (N, S))."""
        hidden, memory, keys, valid = state
        context, weights = self.attention(hidden, memory, keys, valid)
        return self.decoder(jnp.concatenate([embedded, context], axis=1), hidden), weights


class CTCReader(nnx.Module):
    """Images of lines (N, 32, W, 1) -> log-probabilities of symbols (N, W // 4, num_symbols).

    widths: (N,) int, at least 4, the pixels of each image before its padding. Its first `width // 4` steps
    count. In evaluation mode the padding changes nothing in them: it is set to zero before every convolution,
    as the convolution's own padding is. Symbol 0 is the blank of CTC.

    width: the number of channels of the first convolution. A. Graves et al., "Connectionist temporal
    classification" (2006); convolutions before the recurrent layers as in B. Shi et al., "An end-to-end
    trainable neural network for image-based sequence recognition" (2017).
    """

    def __init__(self, num_symbols: int = 11, width: int = 32, hidden_features: int = 128, *, rngs: nnx.Rngs):
        self.conv1 = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, rngs=rngs),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 16, W / 2, 32)
        )
        self.conv2 = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, padding=1, rngs=rngs),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 8, W / 4, 64)
        )
        self.conv3 = nn.Sequential(
            nn.Conv2d(2 * width, 4 * width, 3, padding=1, rngs=rngs),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.MaxPool2d((2, 1)),  # (N, 4, W / 4, 128)
        )
        features = 4 * width * 4
        self.lstm1 = Bidirectional(
            nn.LSTM(features, hidden_features, batch_first=True, rngs=rngs),
            nn.LSTM(features, hidden_features, batch_first=True, rngs=rngs),
        )
        self.lstm2 = Bidirectional(
            nn.LSTM(2 * hidden_features, hidden_features, batch_first=True, rngs=rngs),
            nn.LSTM(2 * hidden_features, hidden_features, batch_first=True, rngs=rngs),
        )
        self.fc = nn.Linear(2 * hidden_features, num_symbols, rngs=rngs)

    def __call__(self, images: jax.Array, widths: jax.Array) -> jax.Array:
        widths = jnp.asarray(widths)
        x = self.conv1(without_padding(images, widths))
        x = self.conv2(without_padding(x, widths // 2))
        x = self.conv3(without_padding(x, widths // 4))
        x = x.transpose(0, 2, 3, 1)  # torch's order of the features
        x = x.reshape(*x.shape[:2], -1)  # (N, W / 4, 512): the columns are the steps
        steps = widths // 4
        x = self.lstm2(self.lstm1(x, steps), steps)
        return jax.nn.log_softmax(self.fc(x), axis=2)

    def greedy(self, images: jax.Array, widths: jax.Array) -> jax.Array:
        """The labels (N, W // 4) int32 of the most probable path, padded with 0."""
        return best_path(self(images, widths), widths // 4)

    def beam(self, images: jax.Array, widths: jax.Array, width: int) -> tuple[jax.Array, jax.Array]:
        """(labels (N, width, W // 4) int32, their log-probabilities (N, width)), the best first.

        width: how many beginnings the search keeps. See `decoding.best_labels`.
        """
        return best_labels(self(images, widths), widths // 4, width)


def without_padding(x: jax.Array, widths: jax.Array) -> jax.Array:
    """The images (N, H, W, C) with zeros from the column `widths` (N,) on."""
    columns = jnp.arange(x.shape[2], dtype=widths.dtype)
    return jnp.where((columns < widths[:, None])[:, None, :, None], x, 0)


class Captioner(Writer):
    """Images (N, H, W, 3) and the beginning of a caption -> logits of the next word (N, T, vocabulary_size).

    captions: (N, T) int, from START on; the logits at a step depend on the image and the words up to this
    step.

    The convolutions are those of SimpleCNN with batch norms; the mean over all pixels gives the image's
    features. A linear layer and a batch norm bring them to the scale of the words. An LSTM reads them as its
    first input, then the words. O. Vinyals et al., "Show and tell: a
    neural image caption generator" (2015).

    width: the number of channels of the first convolution. regions: the image is divided into regions x
    regions parts with a mean each; one mean does not say where in the image a thing is.
    """

    def __init__(
        self, vocabulary_size: int = 40, width: int = 32, regions: int = 1, embedding_features: int = 128,
        hidden_features: int = 256, *, rngs: nnx.Rngs,
    ):  # fmt: skip
        self.conv = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, rngs=rngs),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 32, 32, 32)
            nn.Conv2d(width, 2 * width, 3, padding=1, rngs=rngs),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 16, 16, 64)
            nn.Conv2d(2 * width, 4 * width, 3, padding=1, rngs=rngs),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 8, 8, 128)
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(regions), nn.Flatten())
        self.image = nn.Sequential(
            nn.Linear(4 * width * regions * regions, embedding_features, rngs=rngs),
            nn.BatchNorm1d(embedding_features),
        )
        self.embedding = nn.Embedding(vocabulary_size, embedding_features, rngs=rngs)
        self.lstm = nn.LSTM(embedding_features, hidden_features, batch_first=True, rngs=rngs)
        self.fc = nn.Linear(hidden_features, vocabulary_size, rngs=rngs)

    def __call__(self, images: jax.Array, captions: jax.Array) -> jax.Array:
        inputs = jnp.concatenate([self._embed_image(images), self.embedding(captions)], axis=1)
        output, _ = self.lstm(inputs)
        return self.fc(output[:, 1:])

    def begin(self, inputs: jax.Array) -> State:
        """[h, c], (N, hidden_features) each, after the LSTM has read the images (N, H, W, 3)."""
        _, (h, c) = self.lstm(self._embed_image(inputs))
        return [h[0], c[0]]

    def advance(self, symbols: jax.Array, state: State) -> tuple[jax.Array, State]:
        h, c = state
        output, (h, c) = self.lstm(self.embedding(symbols[:, None]), (h[None], c[None]))
        return jax.nn.log_softmax(self.fc(output[:, 0]), axis=1), [h[0], c[0]]

    def _embed_image(self, images: jax.Array) -> jax.Array:
        """The images as the first input of the LSTM (N, 1, embedding_features)."""
        return self.image(self.pool(self.conv(images)))[:, None]


MODELS = {"seq2seq": Seq2Seq, "ctc_reader": CTCReader, "captioner": Captioner}
