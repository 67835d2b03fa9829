"""Sequences to sequences: a text as another text, a line of symbols as its text, an image as its caption."""

import torch
from torch import Tensor, nn

from torch_models.decoding import Writer, best_labels, best_path


class Bidirectional(nn.Module):
    """Two recurrent layers that read padded sequences in both directions: (N, L, F) -> (N, L, 2 H).

    The second one reads from the last step of each sequence to its first. The padding changes no output
    before it.
    """

    def __init__(self, onwards: nn.Module, backwards: nn.Module):
        super().__init__()
        self.onwards, self.backwards = onwards, backwards

    def forward(self, x: Tensor, lengths: Tensor) -> Tensor:
        onwards, _ = self.onwards(x)
        backwards, _ = self.backwards(reverse_sequences(x, lengths))
        return torch.cat([onwards, reverse_sequences(backwards, lengths)], dim=-1)


def reverse_sequences(x: Tensor, lengths: Tensor) -> Tensor:
    """The sequences (N, L, F) with their first `lengths` (N,) steps in the opposite order."""
    steps = torch.arange(x.shape[1], device=x.device)
    lengths = lengths[:, None]
    rows = torch.where(steps < lengths, lengths - 1 - steps, steps)  # (N, L)
    return x.gather(1, rows[:, :, None].expand(-1, -1, x.shape[2]))


class AdditiveAttention(nn.Module):
    """The weights of S entries of a memory, and their weighted mean. Bahdanau et al. 2015.

    The score of an entry is v . tanh(W query + U entry). One bias is enough for the sum, and a bias of the
    score would change no weight.
    """

    def __init__(self, query_features: int, memory_features: int, hidden_features: int):
        super().__init__()
        self.query = nn.Linear(query_features, hidden_features, bias=False)
        self.key = nn.Linear(memory_features, hidden_features)
        self.score = nn.Linear(hidden_features, 1, bias=False)

    def forward(self, query: Tensor, memory: Tensor, keys: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """(mean of the memory (N, F), weights (N, S)).

        query: (N, Q). memory: (N, S, F). keys: (N, S, hidden_features), `self.key` of the memory. valid:
        (N, S) bool; the other entries have the weight 0.
        """
        scores = self.score(torch.tanh(self.query(query)[:, None] + keys))[:, :, 0]
        weights = torch.softmax(torch.where(valid, scores, -float("inf")), dim=1)
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

    exported = ("greedy", "beam", "attend")

    def __init__(
        self, source_size: int = 200, target_size: int = 15, embedding_features: int = 64,
        hidden_features: int = 128,
    ):  # fmt: skip
        super().__init__()
        self.source_embedding = nn.Embedding(source_size, embedding_features)
        self.encoder = Bidirectional(
            nn.GRU(embedding_features, hidden_features, batch_first=True),
            nn.GRU(embedding_features, hidden_features, batch_first=True),
        )
        self.bridge = nn.Linear(hidden_features, hidden_features)
        self.attention = AdditiveAttention(hidden_features, 2 * hidden_features, hidden_features)
        self.target_embedding = nn.Embedding(target_size, embedding_features)
        self.decoder = nn.GRUCell(embedding_features + 2 * hidden_features, hidden_features)
        self.fc = nn.Linear(hidden_features, target_size)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.attend(source, target)[0]

    def attend(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """(logits (N, T, target_size), the weights of the source at every step (N, T, S))."""
        state = self.begin(source)
        hiddens: list[Tensor] = []
        weights: list[Tensor] = []
        for embedded in self.target_embedding(target).unbind(1):
            hidden, of_step = self._step(embedded, state)
            state = [hidden, state[1], state[2], state[3]]
            hiddens.append(hidden)
            weights.append(of_step)
        return self.fc(torch.stack(hiddens, 1)), torch.stack(weights, 1)

    def begin(self, inputs: Tensor) -> list[Tensor]:
        """[hidden state (N, H), memory (N, S, 2 H), keys (N, S, H), valid (N, S)] for a source (N, S)."""
        steps = torch.arange(1, inputs.shape[1] + 1, device=inputs.device)
        lengths = torch.where(inputs != self.PADDING, steps, 1).amax(1)
        memory = self.encoder(self.source_embedding(inputs), lengths)
        read_all = memory[:, 0, memory.shape[2] // 2 :]
        hidden = torch.tanh(self.bridge(read_all))
        return [hidden, memory, self.attention.key(memory), steps <= lengths[:, None]]

    def advance(self, symbols: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        hidden, _ = self._step(self.target_embedding(symbols), state)
        return torch.log_softmax(self.fc(hidden), dim=1), [hidden, state[1], state[2], state[3]]

    def _step(self, embedded: Tensor, state: list[Tensor]) -> tuple[Tensor, Tensor]:
        """(the next hidden state (N, H), the weights of the source (N, S))."""
        hidden, memory, keys, valid = state[0], state[1], state[2], state[3]
        context, weights = self.attention(hidden, memory, keys, valid)
        return self.decoder(torch.cat([embedded, context], dim=1), hidden), weights


class CTCReader(nn.Module):
    """Images of lines (N, 1, 32, W) -> log-probabilities of symbols (N, W // 4, num_symbols).

    widths: (N,) int, at least 4, the pixels of each image before its padding. Its first `width // 4` steps
    count. In evaluation mode the padding changes nothing in them: it is set to zero before every convolution,
    as the convolution's own padding is. Symbol 0 is the blank of CTC.

    width: the number of channels of the first convolution. A. Graves et al., "Connectionist temporal
    classification" (2006); convolutions before the recurrent layers as in B. Shi et al., "An end-to-end
    trainable neural network for image-based sequence recognition" (2017).
    """

    exported = ("greedy", "beam")

    def __init__(self, num_symbols: int = 11, width: int = 32, hidden_features: int = 128):
        super().__init__()
        self.conv1 = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 32, 16, W / 2)
        )
        self.conv2 = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 64, 8, W / 4)
        )
        self.conv3 = nn.Sequential(
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.MaxPool2d((2, 1)),  # (N, 128, 4, W / 4)
        )
        features = 4 * width * 4
        self.lstm1 = Bidirectional(
            nn.LSTM(features, hidden_features, batch_first=True),
            nn.LSTM(features, hidden_features, batch_first=True),
        )
        self.lstm2 = Bidirectional(
            nn.LSTM(2 * hidden_features, hidden_features, batch_first=True),
            nn.LSTM(2 * hidden_features, hidden_features, batch_first=True),
        )
        self.fc = nn.Linear(2 * hidden_features, num_symbols)

    def forward(self, images: Tensor, widths: Tensor) -> Tensor:
        x = self.conv1(without_padding(images, widths))
        x = self.conv2(without_padding(x, widths // 2))
        x = self.conv3(without_padding(x, widths // 4))
        x = x.permute(0, 3, 1, 2).flatten(2)  # (N, W / 4, 512): the columns are the steps
        steps = widths // 4
        x = self.lstm2(self.lstm1(x, steps), steps)
        return torch.log_softmax(self.fc(x), dim=2)

    def greedy(self, images: Tensor, widths: Tensor) -> Tensor:
        """The labels (N, W // 4) int64 of the most probable path, padded with 0."""
        return best_path(self.forward(images, widths), widths // 4)

    def beam(self, images: Tensor, widths: Tensor, width: int) -> tuple[Tensor, Tensor]:
        """(labels (N, width, W // 4) int64, their log-probabilities (N, width)), the best first.

        width: how many beginnings the search keeps. See `decoding.best_labels`.
        """
        return best_labels(self.forward(images, widths), widths // 4, width)


def without_padding(x: Tensor, widths: Tensor) -> Tensor:
    """The images (N, C, H, W) with zeros from the column `widths` (N,) on."""
    columns = torch.arange(x.shape[3], device=x.device)
    return torch.where((columns < widths[:, None])[:, None, None], x, 0.0)


class Captioner(Writer):
    """Images (N, 3, H, W) and the beginning of a caption -> logits of the next word (N, T, vocabulary_size).

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
        hidden_features: int = 256,
    ):  # fmt: skip
        super().__init__()
        self.conv = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 32, 32, 32)
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 64, 16, 16)
            nn.Conv2d(2 * width, 4 * width, 3, padding=1),
            nn.BatchNorm2d(4 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),  # (N, 128, 8, 8)
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(regions), nn.Flatten())
        self.image = nn.Sequential(
            nn.Linear(4 * width * regions * regions, embedding_features),
            nn.BatchNorm1d(embedding_features),
        )
        self.embedding = nn.Embedding(vocabulary_size, embedding_features)
        self.lstm = nn.LSTM(embedding_features, hidden_features, batch_first=True)
        self.fc = nn.Linear(hidden_features, vocabulary_size)

    def forward(self, images: Tensor, captions: Tensor) -> Tensor:
        inputs = torch.cat([self._embed_image(images), self.embedding(captions)], dim=1)
        output, _ = self.lstm(inputs)
        return self.fc(output[:, 1:])

    def begin(self, inputs: Tensor) -> list[Tensor]:
        """[h, c], (N, hidden_features) each, after the LSTM has read the images (N, 3, H, W)."""
        _, (h, c) = self.lstm(self._embed_image(inputs))
        return [h[0], c[0]]

    def advance(self, symbols: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        h, c = state[0], state[1]
        output, (h, c) = self.lstm(self.embedding(symbols[:, None]), (h[None], c[None]))
        return torch.log_softmax(self.fc(output[:, 0]), dim=1), [h[0], c[0]]

    def _embed_image(self, images: Tensor) -> Tensor:
        """The images as the first input of the LSTM (N, 1, embedding_features)."""
        return self.image(self.pool(self.conv(images)))[:, None]


MODELS = {"seq2seq": Seq2Seq, "ctc_reader": CTCReader, "captioner": Captioner}
