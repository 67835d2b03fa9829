"""Decoding: both twins write the same symbols with the same scores; padding and ties are treated alike."""

import itertools
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

import flax_models.decoding as flax_decoding
import torch_models.decoding as torch_decoding
from convert import to_flax
from convert.certificate.calls import to_torch_input
from convert.certificate.tolerances import TOLERANCES, difference
from convert.formats import FORMATS
from convert.formats.alone import ExportError, check_export, run_alone
from convert.twins import TWINS, Method, find_twin
from tests.compilation import QUICK
from tests.pairs import model_inputs, model_pair
from train.tasks.losses.ctc import ctc

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


def lively_pair(model: str) -> Any:
    """A pair that writes sequences of different symbols and lengths."""
    pair = model_pair(model, training=False)
    with torch.no_grad():
        for parameter in pair.theirs.parameters():
            if parameter.ndim == 2:
                parameter.mul_(2)
        pair.theirs.fc.bias.zero_()
        if model == "captioner":  # its features of random images are nearly equal
            pair.theirs.image[0].weight.mul_(20)
    to_flax(pair.theirs, pair.ours)
    return pair


def inputs_of(model: str, count: int) -> np.ndarray:
    """Random first inputs of a model; images have different colours, because their features are means."""
    inputs = model_inputs(model, count)[0]
    if inputs.ndim == 4:
        inputs = inputs + 4 * np.random.default_rng(0).normal(size=(count, 1, 1, 3))
    return inputs


@writers
def test_both_write_the_same(model):
    pair, inputs = lively_pair(model), inputs_of(model, 12)
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
    pair, inputs = lively_pair(model), inputs_of(model, 5)
    (greedy,), _ = call(pair, "greedy", inputs, 7)
    ((sequences, scores), _) = call(pair, "beam", inputs, 1, 7)
    assert np.array_equal(sequences[:, 0], greedy)
    (logits,), _ = call(pair, "__call__", inputs, np.insert(greedy, 0, 1, axis=1)[:, :-1])
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
        def greedy(self, inputs: torch.Tensor, max_length: int) -> torch.Tensor:
            return torch.ones(inputs.shape[0], max_length, dtype=torch.int64)

    pair.theirs.__class__ = Other
    path = SCRIPT.write(pair.theirs, tmp_path / "x.pt")
    with pytest.raises(ExportError, match="differs from the Flax model by inf"):
        check_export(path, SCRIPT, pair.ours, twin.examples[""], {"greedy": Method(1, (9,))})


# The paths of CTC


def paths(count: int, longest: int, size: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(log-probabilities (N, T, C), steps (N,)), in float64."""
    rng = np.random.default_rng(seed)
    scores = 2 * rng.normal(size=(count, longest, size))
    return scores - np.log(np.exp(scores).sum(2, keepdims=True)), rng.integers(1, longest + 1, count)


def test_the_best_path_reads_alike():
    scores, steps = paths(20, 9, 4)
    ours = np.asarray(jax.jit(flax_decoding.best_path)(jnp.asarray(scores), jnp.asarray(steps)))
    theirs = torch_decoding.best_path(torch.tensor(scores), torch.tensor(steps))
    assert np.array_equal(ours, theirs.numpy())
    for row, best, step in zip(ours, scores.argmax(2), steps, strict=True):
        read = [symbol for symbol, _ in itertools.groupby(best[:step]) if symbol]
        assert [*read, *[0] * (9 - len(read))] == row.tolist()


@pytest.mark.parametrize("width", [1, 3, 8])
def test_the_best_labels_are_found_alike(width):
    scores, steps = paths(10, 9, 4, seed=width)
    found = jax.jit(flax_decoding.best_labels, static_argnums=2)(
        jnp.asarray(scores), jnp.asarray(steps), width
    )
    labels, totals = map(np.asarray, found)
    theirs = torch_decoding.best_labels(torch.tensor(scores), torch.tensor(steps), width)
    assert labels.shape == (10, width, 9) and np.array_equal(labels, theirs[0].numpy())
    alive = np.isfinite(totals)
    assert np.array_equal(alive, theirs[1].isfinite().numpy())
    assert difference(totals[alive], theirs[1].numpy()[alive]) <= FORWARD


def test_a_wide_search_gives_the_ctc_loss_of_all_labels():
    scores, _ = paths(3, 4, 3, seed=5)
    steps = np.array([4, 4, 3])
    labels, totals = jax.jit(flax_decoding.best_labels, static_argnums=2)(
        jnp.asarray(scores), jnp.asarray(steps), 40
    )
    for row in range(3):
        alive = np.isfinite(np.asarray(totals[row]))
        found = np.asarray(labels[row])[alive]
        assert len({tuple(one) for one in found}) == len(found), "no labels are found twice"
        arguments = np.repeat(scores[row : row + 1], 40, 0), labels[row], np.full(40, steps[row])
        losses = jax.jit(ctc)(*map(jnp.asarray, arguments), (labels[row] > 0).sum(1))
        assert difference(np.asarray(totals[row])[alive], -np.asarray(losses)[alive]) <= FORWARD
        assert float(jnp.exp(totals[row]).sum()) == pytest.approx(1)  # every path reads as some labels


def test_equal_labels_are_ordered_alike():
    scores, steps = np.full((2, 5, 3), -np.log(3)), np.array([1, 1])  # sums over paths would be rounded
    ours = jax.jit(flax_decoding.best_labels, static_argnums=2)(jnp.asarray(scores), jnp.asarray(steps), 6)
    theirs = torch_decoding.best_labels(torch.tensor(scores), torch.tensor(steps), 6)
    assert np.array_equal(np.asarray(ours[0]), theirs[0].numpy())


def test_the_padding_of_a_line_changes_nothing():
    pair = model_pair("ctc_reader", training=False)
    images, _ = model_inputs("ctc_reader", 4)
    widths = np.array([36, 35, 17, 6])
    (outputs,), (theirs,) = call(pair, "__call__", images, widths)
    assert difference(outputs, theirs) <= FORWARD
    (labels,), _ = call(pair, "greedy", images, widths)
    for row, width in enumerate(widths):
        (alone,), _ = call(pair, "__call__", images[row : row + 1, :, :width], widths[row : row + 1])
        assert alone.shape[1] == width // 4
        assert difference(outputs[row, : width // 4], alone[0]) <= FORWARD
        assert not labels[row, width // 4 :].any()


@pytest.mark.parametrize("decoding", [flax_decoding, torch_decoding])
def test_a_search_of_no_width_is_refused(decoding):
    arrays = [jnp.zeros((1, 2, 3)), jnp.ones(1, int)]
    if decoding is torch_decoding:
        arrays = [torch.zeros(1, 2, 3), torch.ones(1)]
    with pytest.raises(ValueError, match="width must be at least 1"):
        decoding.best_labels(*arrays, 0)
