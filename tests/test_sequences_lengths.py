"""Sequence models at any length: the tagger's padding, exports, and perplexity from mean losses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from convert.certificate.calls import output_difference
from convert.certificate.tolerances import TOLERANCES, difference
from convert.formats.alone import check_export, run_alone
from convert.formats.torchscript import export_torchscript
from convert.twins import TWINS, Example, find_twin
from convert.weights import flat_variables
from tests.test_sequences import SEQUENCES, jitted, load, pair_of, small_run
from train.data.readers.tagged import NO_TAG, encode_words

# The tagger's padding


def tagger_pair():
    """The small tagger in float64, both twins."""
    ours, theirs = pair_of("lstm_tagger")
    ours = nnx.clone(ours)
    for variable in flat_variables(ours).values():
        variable.set_value(variable[...].astype(jnp.float64))
    return ours, theirs.double()


WORDS = [["Everybody", "ate", "I"], ["an", "apple", "pie", "yesterday", "too"]]
VOCABULARY = ["the", "dog", "ate", "apple", "everybody", "read", "that", "book"]


def test_padding_is_as_word_by_word_and_sentence_by_sentence_in_flax():
    arrays = encode_words(WORDS, VOCABULARY)
    with jax.enable_x64(True):
        ours, _ = tagger_pair()
        graph, state = nnx.split(ours)

        @jitted
        def run(state):
            model = nnx.merge(graph, state)
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
        assert difference(logits[row, : len(sentence)], expected[row]) <= 1e-12


@torch.no_grad()
def test_padding_is_as_word_by_word_and_sentence_by_sentence_in_torch():
    with jax.enable_x64(True):
        _, theirs = tagger_pair()
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
        assert difference(logits[row, : len(sentence)].numpy(), expected.numpy()) <= 1e-12


def test_what_stands_behind_the_end_changes_nothing():
    """Neither the loss nor the weights after a step; and a batch is the mean over all of its words."""
    task, _ = small_run("lstm_tagger")
    batch = load("tagged_sentences", "tagged").train
    other = {name: array.copy() for name, array in batch.items()}
    places = np.arange(9) >= batch["lengths"][..., None]
    other["characters"][places] = np.random.default_rng(0).integers(0, 27, places.sum())
    other["words"][1, 4], other["lengths"][1, 4] = 2, 3
    step = jitted(task.step)
    (a, losses), (b, others) = (step(task.initial_state(), arrays, {}) for arrays in (batch, other))
    assert float(losses["loss"]) == pytest.approx(float(others["loss"]), abs=1e-6)
    errors = jax.tree.map(lambda x, y: float(np.abs(x - y).max()), a.params, b.params)
    assert max(jax.tree.leaves(errors)) < 1e-7
    tags = [np.where(np.arange(2)[:, None] == row, batch["tags"], NO_TAG) for row in (0, 1)]
    alone = [step(task.initial_state(), {**batch, "tags": of_one}, {})[1] for of_one in tags]
    moved = jax.tree.map(
        lambda x, y: bool((x != y).all()), a.params["lstm"], task.initial_state().params["lstm"]
    )
    assert moved["bias_ih_l0"] and moved["bias_hh_l0"]  # both are trained
    for name in ("loss", "accuracy"):
        mean = (5 * float(alone[0][name]) + 4 * float(alone[1][name])) / 9
        assert float(losses[name]) == pytest.approx(mean, abs=1e-6)


# Exports


def test_elastic_axes_grow_together():
    rng = np.random.default_rng(0)
    assert Example((5, 6, 2), elastic=(0, 1)).draw(rng, 3, longer=4).shape == (3, 9, 10, 2)
    assert Example((5, 2), batch_axis=1, elastic=(0,)).draw(rng, 3, longer=1).shape == (6, 3, 2)
    assert all(
        any(example.elastic for example in TWINS[m].examples[""]) for m in SEQUENCES if m != "ngram_lm"
    )


def test_an_export_takes_other_lengths(tmp_path):
    ours, theirs = pair_of("lstm_tagger")
    path = export_torchscript(theirs, tmp_path / "x.torchscript.pt")
    sentences = [["a", "bc"], ["extraordinary", "things", "do", "happen", "to", "me"]]
    calls = [list(encode_words(s, VOCABULARY).values()) for s in ([["extraordinarily"]], sentences)]
    graph, state = nnx.split(ours)
    call = jitted(lambda state, inputs: nnx.merge(graph, state)(*inputs))
    for inputs, expected in zip(calls, run_alone(path, calls), strict=True):
        assert output_difference(call(state, inputs), expected) <= TOLERANCES["float32"].forward


def test_an_export_of_one_length_only_is_refused(tmp_path):
    ours, theirs = pair_of("rnn_regressor")

    class OneLength(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x[:6])

    path = export_torchscript(OneLength(theirs), tmp_path / "x.torchscript.pt")
    with pytest.raises(ValueError, match="differs from the Flax model by inf"):
        check_export(path, ours, find_twin("rnn_regressor").examples[""])


def test_perplexity_follows_from_the_mean_loss():
    task, _ = small_run("ngram_lm")
    derived = task.derived({"loss": np.log(3.0), "test_loss": 0.0, "accuracy": 0.5})
    assert derived == {"perplexity": pytest.approx(3), "test_perplexity": 1}
