"""Training on sequences: windows, what a pass over the data means, and what padding changes."""

import copy
import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from convert import to_torch
from convert.certificate.tolerances import difference
from convert.optimizers import build_torch_optimizers
from tests.agreement import FORWARD, LOSSES, STEPS
from tests.pairs import model_pair
from tests.train.tasks.sequences import SEQUENCES, as_float64, built, jitted, load, small_run
from torch_models.steps import REFERENCE_STEPS
from train.data.readers.tagged import NO_TAG
from train.engine.cadence import Cadence
from train.engine.steps import fast_steps_per_call, jit_steps
from train.tasks import build_task
from train.tasks.models import build_model

pytestmark = [
    pytest.mark.usefixtures("quick_compilation"),
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]


def test_windows_are_followed_by_the_next_value():
    task, feed = small_run("lstm_regressor")
    batch = task.prepare(feed.batch(feed.inputs(0, 1), 0), jax.random.key(0))
    assert batch["x"].shape == (99, 1, 2) and batch["y"].shape == (99, 1, 1)
    series = np.asarray(load("airline_passengers", "forecast").train["series"][0])
    assert np.array_equal(batch["x"][:, 0], np.stack([series[:-2], series[1:-1]], 1))
    assert np.array_equal(batch["y"][:, 0, 0], series[2:])
    two = task.prepare({"series": jnp.asarray([series, series[::-1]])}, jax.random.key(0))
    assert np.array_equal(two["x"][:, :1], batch["x"]) and two["y"][0, 1, 0] == series[-3]


def test_the_held_out_loss_counts_what_was_not_trained_on():
    task, _ = small_run("gru_regressor")
    test = load("airline_passengers", "forecast").test
    state, batch = task.initial_state(), task.prepare_test(jax.tree.map(jnp.asarray, test))
    predicted, sums = jitted(lambda *args: (task.predict(*args), task.evaluate(*args)))(state, batch)
    misses = np.asarray(predicted)[:, 0, 0] - test["series"][0, 2:]
    assert float(sums["loss"]) == pytest.approx(np.square(misses[99:]).mean(), rel=1e-5)


def test_another_window_needs_a_model_for_it():
    recipe, model = built("lstm_regressor")
    recipe = dataclasses.replace(recipe, window=3)
    with pytest.raises(
        ValueError, match="takes windows of 2 values, and --window is 3: add --options input_features 3"
    ):
        build_task(recipe, model)
    recipe = dataclasses.replace(recipe, options={"input_features": 3})
    task = build_task(recipe, build_model(recipe))
    assert task.prepare({"series": jnp.zeros((1, 10))}, jax.random.key(0))["x"].shape == (7, 1, 3)
    with pytest.raises(ValueError, match="--window is 3, and the series to train on has 3 values"):
        task.prepare({"series": jnp.zeros((1, 3))}, jax.random.key(0))


# What a pass means


@pytest.mark.parametrize("model", ("ngram_lm", "lstm_tagger"))
def test_many_steps_in_a_dispatch_mean_the_same(model):
    with jax.enable_x64(True):
        task, feed = small_run(model)
        length = 2 * feed.steps_per_epoch if model == "lstm_tagger" else feed.steps_per_epoch
        call, state, singles = jit_steps(task, feed, length), as_float64(task.initial_state()), []
        many, losses = call(as_float64(state), feed.inputs(0, length), length)
        for step in range(length):
            state, loss = call(state, feed.inputs(step, 1), 1)
            singles.append(float(loss["loss"][0]))
    assert difference(np.asarray(losses["loss"]), np.asarray(singles)) <= FORWARD
    errors = jax.tree.map(lambda a, b: difference(np.asarray(a), np.asarray(b)), many, state)
    assert max(jax.tree.leaves(errors)) <= FORWARD and int(many.step) == length


@pytest.mark.parametrize("model", SEQUENCES)
def test_a_pass_is_one_dispatch(model):
    task, feed = small_run(model)
    longest = fast_steps_per_call(built(model)[1])
    cadence = Cadence.of(task.recipe, feed)
    assert min(longest, cadence.until_next(0)) >= feed.steps_per_epoch
    assert cadence.log % feed.steps_per_epoch == 0
    assert feed.refresh_every is None  # in order


def test_a_language_model_trains_as_in_torch():
    """Two passes of single trigrams, in order, against the reference loop: losses in float64."""
    _, feed = small_run("ngram_lm")
    recipe, steps = built("ngram_lm")[0], 2 * feed.steps_per_epoch
    pair = model_pair("ngram_lm")
    with jax.enable_x64(True):
        task = build_task(recipe, pair.ours)
        call = jit_steps(task, feed, steps)
        state, losses = call(as_float64(task.initial_state()), feed.inputs(0, steps), steps)
        ours = np.asarray(losses["loss"])
        merged = task.model_def.eval(state.params, state.buffers)
    optimizers = build_torch_optimizers(recipe, pair.theirs)
    step = REFERENCE_STEPS[recipe.task](pair.theirs, optimizers, **recipe.step_options)
    train = load("sonnet", "text").train
    x, y = (torch.tensor(train[name]).long() for name in "xy")
    expected = [step({"x": x[i : i + 1], "y": y[i : i + 1]}, {})["loss"].item() for i in [*range(113)] * 2]
    assert difference(ours, np.asarray(expected)) <= LOSSES
    assert ours[113:].mean() < ours[:113].mean()
    trained = to_torch(merged, copy.deepcopy(pair.theirs)).state_dict()
    for name, tensor in pair.theirs.state_dict().items():
        assert difference(trained[name].numpy(), tensor.numpy()) <= STEPS, name


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


def test_perplexity_follows_from_the_mean_loss():
    task, _ = small_run("ngram_lm")
    derived = task.derived({"loss": np.log(3.0), "test_loss": 0.0, "accuracy": 0.5})
    assert derived == {"perplexity": pytest.approx(3), "test_perplexity": 1}
