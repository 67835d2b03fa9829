"""Sequence models at any length: the tagger's padding, and exports."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from convert.certificate.calls import output_difference
from convert.certificate.tolerances import TOLERANCES, difference
from convert.formats import FORMATS
from convert.formats.alone import check_export, run_alone
from convert.twins import TWINS, Example, find_twin
from tests.compilation import QUICK
from tests.pairs import model_pair
from train.data.readers.tagged import encode_words

FORWARD = TOLERANCES["float64"].forward
SCRIPT = FORMATS["torchscript"]
WORDS = [["Everybody", "ate", "I"], ["an", "apple", "pie", "yesterday", "too"]]
VOCABULARY = ["the", "dog", "ate", "apple", "everybody", "read", "that", "book"]


def test_padding_is_as_word_by_word_and_sentence_by_sentence_in_flax():
    arrays = encode_words(WORDS, VOCABULARY)
    with jax.enable_x64(True):
        graph, state = nnx.split(model_pair("lstm_tagger").ours)

        @partial(jax.jit, compiler_options=QUICK)
        def run(state):
            model: Any = nnx.merge(graph, state)
            return model(*map(jnp.asarray, arrays.values())), [alone(model, row) for row in range(2)]

        def alone(model, row):
            spelled = []
            for column, word in enumerate(WORDS[row]):
                letters = arrays["characters"][row, column, : len(word)]
                output, _ = model.character_lstm(model.character_embedding(letters))
                spelled.append(output[-1])
            words = model.word_embedding(arrays["words"][row, : len(WORDS[row])])
            return model.fc(model.lstm(jnp.concatenate([words, jnp.stack(spelled)], -1)[None])[0])[0]

        logits, expected = jax.device_get(run(state))
    assert logits.dtype == np.float64 and logits.shape == (2, 5, 3)
    for row, sentence in enumerate(WORDS):
        assert difference(logits[row, : len(sentence)], expected[row]) <= FORWARD


@torch.no_grad()
def test_padding_is_as_word_by_word_and_sentence_by_sentence_in_torch():
    theirs = model_pair("lstm_tagger").theirs
    arrays = {name: torch.tensor(array) for name, array in encode_words(WORDS, VOCABULARY).items()}
    logits = theirs(*arrays.values())
    for row, sentence in enumerate(WORDS):
        spelled = []
        for column, word in enumerate(sentence):
            letters = arrays["characters"][row, column, : len(word)]
            output, _ = theirs.character_lstm(theirs.character_embedding(letters))
            spelled.append(output[-1])
        words = theirs.word_embedding(arrays["words"][row, : len(sentence)])
        expected = theirs.fc(theirs.lstm(torch.cat([words, torch.stack(spelled)], -1)[None])[0])[0]
        assert difference(logits[row, : len(sentence)].numpy(), expected.numpy()) <= FORWARD


def test_elastic_axes_grow_together():
    rng = np.random.default_rng(0)
    assert Example((5, 6, 2), elastic=(0, 1)).draw(rng, 3, longer=4).shape == (3, 9, 10, 2)
    assert Example((5, 2), batch_axis=1, elastic=(0,)).draw(rng, 3, longer=1).shape == (6, 3, 2)
    for model in ("lstm_regressor", "rnn_regressor", "gru_regressor", "lstm_tagger"):
        assert any(example.elastic for example in TWINS[model].examples[""])


def test_an_export_takes_other_lengths(tmp_path):
    ours, theirs = model_pair("lstm_tagger", dtype="float32")
    path = SCRIPT.write(theirs, tmp_path / "x.pt")
    sentences = [["a", "bc"], ["extraordinary", "things", "do", "happen", "to", "me"]]
    calls = [list(encode_words(s, VOCABULARY).values()) for s in ([["extraordinarily"]], sentences)]
    graph, state = nnx.split(ours)

    @partial(jax.jit, compiler_options=QUICK)
    def call(state: Any, inputs: Any) -> Any:
        model: Any = nnx.merge(graph, state)
        return model(*inputs)

    for inputs, expected in zip(calls, run_alone(path, SCRIPT, calls), strict=True):
        assert output_difference(call(state, inputs), expected) <= TOLERANCES["float32"].forward


def test_an_export_of_one_length_only_is_refused(tmp_path):
    ours, theirs = model_pair("rnn_regressor", dtype="float32")

    class OneLength(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x[:6])

    path = SCRIPT.write(OneLength(theirs), tmp_path / "x.pt")
    with pytest.raises(ValueError, match="differs from the Flax model by inf"):
        check_export(path, SCRIPT, ours, find_twin("rnn_regressor").examples[""])
