"""The CTC loss against torch's: values and gradients, on the simplex and off it; distances between texts."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from convert.certificate.tolerances import TOLERANCES, difference
from tests.compilation import QUICK
from tests.train.rounding import rounding
from train.tasks.losses.ctc import ctc, mean_ctc
from train.tasks.read import edit_distances

pytestmark = pytest.mark.usefixtures("float64")
FORWARD, GRADIENT = TOLERANCES["float64"].forward, TOLERANCES["float64"].gradient
STEPS, SYMBOLS, LABELS = 9, 4, 4


def cases(seed, normal=True):
    """(log-probabilities (N, T, C), labels, steps, lengths): ordinary, repeated, empty, too long, full."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(7, STEPS, SYMBOLS))
    if normal:
        scores -= np.log(np.exp(scores).sum(2, keepdims=True))
    labels = rng.integers(1, SYMBOLS, (7, LABELS))
    labels[:3] = [[1, 1, 1, 1], [2, 2, 3, 3], [1, 2, 3, 1]]
    steps = np.array([STEPS, 6, 4, 3, 1, 5, 7])
    lengths = np.array([4, 4, 4, 4, 0, 0, 2])  # the fourth has more labels than steps
    return scores, labels, steps, lengths


def of_torch(scores, labels, steps, lengths, weights, zero_infinity):
    """torch's losses, and the gradient of their weighted sum."""
    x = torch.tensor(scores, requires_grad=True)
    losses = F.ctc_loss(
        x.transpose(0, 1), torch.tensor(labels), torch.tensor(steps), torch.tensor(lengths),
        reduction="none", zero_infinity=zero_infinity,
    )  # fmt: skip
    (losses * torch.tensor(weights)).sum().backward()
    assert x.grad is not None
    return losses.detach().numpy(), x.grad.numpy()


def loss_of(*arguments, zero_infinity=False):
    """Our losses, compiled."""
    call = jax.jit(ctc, static_argnums=4, compiler_options=QUICK)
    return np.asarray(call(*map(jnp.asarray, arguments), zero_infinity))


def assert_same(ours, theirs, tolerance):
    """Equal infinities and nans, and nearly equal numbers."""
    ours = np.asarray(ours)
    for kind in (np.isnan, np.isposinf, np.isneginf):
        assert np.array_equal(kind(ours), kind(theirs))
    finite = np.isfinite(theirs)
    assert difference(ours[finite], theirs[finite]) <= tolerance


def losses_and_gradient(zero_infinity):
    """A function of the arguments of `cases` and of weights that returns what `of_torch` returns."""

    def call(scores, labels, steps, lengths, weights):
        def weighted(scores):
            losses = ctc(scores, labels, steps, lengths, zero_infinity)
            return (losses * weights).sum(), losses

        slope, losses = jax.grad(weighted, has_aux=True)(scores)
        return losses, slope

    return jax.jit(call, compiler_options=QUICK)


CALLS = {zero_infinity: losses_and_gradient(zero_infinity) for zero_infinity in (True, False)}


@pytest.mark.parametrize("zero_infinity", [True, False])
@pytest.mark.parametrize("normal", [True, False])
def test_values_and_gradients_are_those_of_torch(normal, zero_infinity):
    for seed in range(3):
        arguments = cases(seed, normal)
        weights = np.random.default_rng(seed).normal(size=7)
        losses, gradient = of_torch(*arguments, weights, zero_infinity)

        ours, slope = CALLS[zero_infinity](*map(jnp.asarray, arguments), weights)
        assert np.isposinf(losses).any() != zero_infinity
        assert_same(ours, losses, FORWARD)
        assert_same(slope, gradient, GRADIENT)


def test_the_mean_is_that_of_torch():
    arguments = cases(1)
    scores, labels, steps, lengths = map(torch.tensor, arguments)
    expected = F.ctc_loss(scores.transpose(0, 1), labels, steps, lengths, zero_infinity=True)
    call = jax.jit(mean_ctc, static_argnums=4, compiler_options=QUICK)
    assert difference(call(*map(jnp.asarray, arguments), True), expected.numpy()) <= FORWARD


def test_a_loss_is_the_sum_over_all_paths():
    scores = cases(3)[0][:1, :4]
    for labels in ([1, 1], [2, 1], [3]):
        padded = np.array([[*labels, 0][:2]])
        total = 0.0
        for path in itertools.product(range(SYMBOLS), repeat=4):
            read = [symbol for symbol, _ in itertools.groupby(path) if symbol]
            total += (read == labels) * np.exp(scores[0, range(4), path].sum())
        (loss,) = loss_of(scores, padded, np.array([4]), np.array([len(labels)]))
        assert loss == pytest.approx(-np.log(total), rel=1e-12)


def test_no_labels_at_all():
    scores, _, steps, _ = cases(2)
    ours = loss_of(scores, np.zeros((7, 0), int), steps, np.zeros(7, int))
    blanks = [-scores[row, :step, 0].sum() for row, step in enumerate(steps)]
    assert difference(ours, np.array(blanks)) <= FORWARD


def test_certain_symbols_have_finite_gradients():
    """A step that excludes a symbol: its log-probability is -inf."""
    scores, labels, steps, lengths = cases(0)
    scores[:, 2, 3] = -np.inf
    scores = scores[[5, 6]]
    arguments = (scores, labels[[5, 6]], steps[[5, 6]], lengths[[5, 6]])
    losses, gradient = of_torch(*arguments, np.ones(2), False)
    call = jax.jit(jax.grad(lambda *given: ctc(*given).sum()), compiler_options=QUICK)
    slope = call(*map(jnp.asarray, arguments))
    possible = np.isfinite(gradient)  # torch has nan at the excluded symbol
    assert np.isfinite(np.asarray(slope)).all() and np.isfinite(losses).all()
    assert difference(np.asarray(slope)[possible], gradient[possible]) <= GRADIENT


def test_float32_is_as_near_to_the_truth_as_torch():
    scores, labels, steps, lengths = cases(4)
    exact, _ = of_torch(scores, labels, steps, lengths, np.ones(7), True)
    arguments = (scores.astype(np.float32), labels, steps, lengths)
    ours = loss_of(*arguments, zero_infinity=True)
    assert ours.dtype == jnp.float32
    theirs, _ = of_torch(*arguments, np.ones(7, np.float32), True)
    assert difference(np.asarray(ours), exact) <= 2 * difference(theirs, exact) + rounding(np.float32, 4)


def test_the_gradient_can_be_differentiated_again():
    """Along a direction, against differences of the gradient."""
    scores, labels, steps, lengths = map(jnp.asarray, cases(5))
    direction = jnp.asarray(np.random.default_rng(6).normal(size=scores.shape))

    def slope(scores):
        return jax.grad(lambda x: ctc(jax.nn.log_softmax(x), labels, steps, lengths, True).sum())(scores)

    @partial(jax.jit, compiler_options=QUICK)
    def second(scores):
        return jax.grad(lambda x: (slope(x) * direction).sum())(scores)

    step = 1e-5
    call = jax.jit(slope, compiler_options=QUICK)
    ahead, behind = call(scores + step * direction), call(scores - step * direction)
    assert difference(np.asarray(second(scores)), np.asarray((ahead - behind) / (2 * step))) < 1e-8


def levenshtein(a, b):
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row, before = [i], row
        for j, y in enumerate(b, 1):
            row.append(min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y)))
    return row[-1]


DISTANCES = jax.jit(edit_distances, compiler_options=QUICK)
texts = st.lists(st.integers(1, 3), max_size=5)


@given(st.lists(st.tuples(texts, texts), min_size=4, max_size=4))
def test_edit_distances(pairs):
    def padded(rows, length):
        return jnp.array([[*row, *[0] * (length - len(row))] for row in rows], jnp.int32)

    read, labels = zip(*pairs, strict=True)
    lengths = jnp.array([len(row) for row in labels], jnp.int32)
    found = DISTANCES(padded(read, 6), padded(labels, 5), lengths)
    assert found.tolist() == [levenshtein(*pair) for pair in pairs]
