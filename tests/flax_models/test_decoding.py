"""Decoding: both twins write the same symbols with the same scores; padding and ties are treated alike."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from convert.certificate.calls import to_torch_input
from convert.certificate.tolerances import TOLERANCES, difference
from convert.formats import FORMATS
from convert.formats.alone import ExportError, check_export, run_alone
from convert.twins import TWINS, Method, find_twin
from tests.compilation import QUICK
from tests.pairs import model_inputs, model_pair

pytestmark = pytest.mark.usefixtures("float64")
FORWARD = TOLERANCES["float64"].forward
WRITERS = sorted(model for model, twin in TWINS.items() if twin.methods.get("greedy", Method(0)).integers)
writers = pytest.mark.parametrize("model", WRITERS)
SCRIPT = FORMATS["torchscript"]


def call(pair: Any, method: str, *arguments: Any) -> tuple[list[Any], list[Any]]:
    """The outputs of a method of both twins, as arrays. arguments: arrays, channels last, and integers."""
    graph, state = nnx.split(pair.ours)
    arrays = [jnp.asarray(value) for value in arguments if isinstance(value, np.ndarray)]
    numbers = [value for value in arguments if isinstance(value, int)]

    @partial(jax.jit, compiler_options=QUICK)
    def run(state: Any, arrays: Any) -> Any:
        model: Any = nnx.merge(graph, state)
        return getattr(model, method)(*arrays, *numbers)

    ours = jax.tree.leaves(jax.device_get(run(state, arrays)))
    with torch.no_grad():
        tensors = [to_torch_input(np.asarray(array)) for array in arrays]
        theirs = getattr(pair.theirs, method)(*tensors, *numbers)
    return ours, [t.numpy() for t in (theirs if isinstance(theirs, tuple) else (theirs,))]


def end_sooner(pair: Any, symbol: int = 2, bias: float = 1.0) -> None:
    """Makes the end of a sequence more probable, so that sequences of several lengths occur."""
    pair.theirs.fc.bias.data[symbol] += bias
    pair.ours.fc.bias[...] = pair.ours.fc.bias[...].at[symbol].add(bias)


@writers
def test_both_write_the_same(model):
    pair = model_pair(model, training=False)
    end_sooner(pair)
    inputs = model_inputs(model, 12)[0]
    (ours,), (theirs,) = call(pair, "greedy", inputs, 9)
    assert ours.shape == (12, 9) and np.array_equal(ours, theirs)
    assert len({tuple(row) for row in ours}) > 2 and (ours[:, -1] == 0).any()
    (sequences, scores), (their_sequences, their_scores) = call(pair, "beam", inputs, 4, 9)
    assert sequences.shape == (12, 4, 9) and np.array_equal(sequences, their_sequences)
    assert difference(scores, their_scores) <= FORWARD
    assert (np.diff(scores) <= 0).all() and (scores < 0).all()
    assert len({tuple(row) for row in sequences[0]}) == 4
    (alone,), _ = call(pair, "greedy", inputs[:1], 20)
    assert np.array_equal(alone[0, :9], ours[0])


@writers
def test_a_beam_of_one_is_greedy_and_a_score_is_the_log_probability(model):
    pair = model_pair(model, training=False)
    end_sooner(pair)
    inputs = model_inputs(model, 5)
    (greedy,), _ = call(pair, "greedy", inputs[0], 7)
    ((sequences, scores), _) = call(pair, "beam", inputs[0], 1, 7)
    assert np.array_equal(sequences[:, 0], greedy)
    (logits,), _ = call(pair, "__call__", inputs[0], np.insert(greedy, 0, 1, axis=1)[:, :-1])
    of_symbols = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), greedy[..., None], 2)[..., 0]
    ended = np.cumsum(greedy == 2, axis=1) - (greedy == 2) > 0
    assert difference(scores[:, 0], np.where(ended, 0, of_symbols).sum(1)) <= FORWARD


@writers
def test_a_wide_beam_finds_the_best_of_all_sequences(model):
    """All sequences of three symbols, scored one by one."""
    pair = model_pair(model, training=False)
    inputs = model_inputs(model, 1)[0]
    size = pair.theirs.fc.out_features
    (sequences, scores), _ = call(pair, "beam", inputs, size**3, 3)
    end, every = 2, np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1).reshape(-1, 3)
    begin = np.insert(every, 0, 1, axis=1)[:, :-1]
    (logits,), _ = call(pair, "__call__", np.repeat(inputs, len(every), 0), begin)
    of_symbols = np.take_along_axis(np.asarray(jax.nn.log_softmax(logits)), every[..., None], 2)[..., 0]
    expected: dict[tuple[int, ...], float] = {}
    for row, of_row in zip(every, of_symbols, strict=True):
        length = int(np.argmax(row == end)) + 1 if (row == end).any() else 3
        expected[(*row[:length], *(0,) * (3 - length))] = of_row[:length].sum()
    found = {tuple(row): score for row, score in zip(sequences[0], scores[0], strict=True) if score > -np.inf}
    assert found.keys() == expected.keys() and len(found) < size**3
    assert max(abs(found[row] - expected[row]) for row in expected) < FORWARD
    assert scores[0, 0] == max(scores[0])


@writers
def test_equal_scores_are_ordered_alike(model):
    pair = model_pair(model, training=False)
    with torch.no_grad():
        torch.nn.init.zeros_(pair.theirs.fc.weight)
        torch.nn.init.zeros_(pair.theirs.fc.bias)
    for leaf in (pair.ours.fc.weight, pair.ours.fc.bias):
        leaf[...] = jnp.zeros_like(leaf[...])
    inputs = model_inputs(model, 2)[0]
    (ours, _), (theirs, _) = call(pair, "beam", inputs, 5, 3)
    assert np.array_equal(ours, theirs)
    (ours,), (theirs,) = call(pair, "greedy", inputs, 3)
    assert np.array_equal(ours, theirs) and not ours.any()


@writers
@pytest.mark.parametrize(("method", "arguments"), [("greedy", (0,)), ("beam", (0, 3)), ("beam", (2, 0))])
def test_lengths_and_widths_below_one_are_refused(model, method, arguments):
    pair = model_pair(model, training=False)
    for twin, inputs in ((pair.ours, jnp.zeros((1, 2), int)), (pair.theirs, torch.zeros(1, 2).long())):
        with pytest.raises(ValueError, match="must be at least 1"):
            getattr(twin, method)(inputs, *arguments)


def test_padding_of_the_source_changes_nothing():
    pair = model_pair("seq2seq", training=False)
    source, target = model_inputs("seq2seq", 4)
    source = np.where(source == 0, 3, source)
    ragged = np.where(np.arange(9) < np.array([9, 5, 1, 3])[:, None], source, 0)
    (logits, weights), theirs = call(pair, "attend", ragged, target)
    for ours, other in zip((logits, weights), theirs, strict=True):
        assert difference(ours, other) <= FORWARD
    for row, length in enumerate([9, 5, 1, 3]):
        (alone, _), _ = call(pair, "attend", source[row : row + 1, :length], target[row : row + 1])
        assert difference(logits[row], alone[0]) <= FORWARD
        assert not weights[row, :, length:].any()
    np.testing.assert_allclose(weights.sum(2), 1, rtol=1e-12)


def test_an_empty_source_is_read_as_one_symbol():
    pair = model_pair("seq2seq", training=False)
    (ours,), (theirs,) = call(pair, "greedy", np.zeros((1, 4), np.int64), 5)
    (one,), _ = call(pair, "greedy", np.zeros((1, 1), np.int64), 5)
    assert np.array_equal(ours, theirs) and np.array_equal(ours, one)


def test_an_export_decodes_alone_at_any_length(tmp_path):
    pair = model_pair("seq2seq", dtype="float32", training=False)
    path = SCRIPT.write(pair.theirs, tmp_path / "x.pt")
    source = np.random.default_rng(3).integers(1, 12, (2, 23))
    with torch.no_grad():
        expected = pair.theirs.greedy(torch.tensor(source), 31)
    (found,) = run_alone(path, SCRIPT, [[source, 31]], ["greedy"])
    assert found.shape == (2, 31) and found.equal(expected)


def test_an_export_that_decodes_something_else_is_refused(tmp_path):
    pair, twin = model_pair("seq2seq", dtype="float32"), find_twin("seq2seq", TWINS["seq2seq"].tiny)

    class Other(type(pair.theirs)):
        @torch.jit.export
        def greedy(self, inputs: torch.Tensor, max_length: int) -> torch.Tensor:
            return torch.ones(inputs.shape[0], max_length, dtype=torch.int64)

    pair.theirs.__class__ = Other
    path = SCRIPT.write(pair.theirs, tmp_path / "x.pt")
    with pytest.raises(ExportError, match="differs from the Flax model by inf"):
        check_export(path, SCRIPT, pair.ours, twin.examples[""], {"greedy": Method(1, (9,))})
