"""Sequence models: their data, and what a pass over it means."""

import dataclasses
import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import torch_models
from convert import to_torch
from convert.certificate.tolerances import TOLERANCES, difference
from convert.optimizers import build_torch_optimizers
from convert.twins import TWINS
from torch_models.steps import REFERENCE_STEPS
from train.data.feeds import make_feed
from train.data.load import load_data
from train.engine.cadence import Cadence
from train.engine.devices import compiler_options
from train.engine.steps import compile_steps, fast_steps_per_call
from train.recipes import RECIPES
from train.tasks import build_task
from train.tasks.models import abstract_model, build_model, fit_options

SEQUENCES = ("lstm_regressor", "rnn_regressor", "gru_regressor", "ngram_lm", "lstm_tagger")
KINDS = {"airline_passengers": "forecast", "sonnet": "text", "tagged_sentences": "tagged"}


def load(name, kind):
    data = load_data(name, "no folder is needed", kind=kind)
    assert json.loads(json.dumps(data.meta)) == data.meta
    return data


@functools.cache
def built(model):
    """(recipe, model) of the small variant, on its own data."""
    recipe = dataclasses.replace(RECIPES[model], options=dict(TWINS[model].tiny))
    return recipe, build_model(recipe)


def pair_of(model):
    """The small variant and its twin with the same weights."""
    recipe, ours = built(model)
    return ours, to_torch(ours, torch_models.MODELS[model](**recipe.options))


@functools.cache
def small_run(model):
    """(task, feed) of the small variant."""
    recipe, ours = built(model)
    data = load(recipe.dataset, KINDS[recipe.dataset])
    feed = make_feed(data.train, batch_size=recipe.batch_size, shuffle=recipe.shuffle, seed=recipe.seed)
    return build_task(recipe, ours), feed


def as_float64(tree):
    """A copy with wide numbers; a step donates its state."""
    return jax.tree.map(
        lambda a: jnp.array(a, jnp.float64 if jnp.issubdtype(a.dtype, jnp.floating) else a.dtype), tree
    )


def jitted(function):
    """jit, compiled as the engine compiles."""
    return jax.jit(function, compiler_options=compiler_options())


# Data


def test_airline_passengers_are_scaled_by_their_range_and_split_in_time():
    train, test, meta = load("airline_passengers", "forecast")
    assert meta["columns"] == ["passengers"] and meta["scale"] == 622 - 104
    assert meta["series"][:3] == [112, 118, 132] and len(meta["series"]) == 144
    assert train["series"].shape == (1, 101) and train["series"].dtype == np.float32  # 99 windows of 142
    assert test["series"].shape == (1, 144) and test["held"].tolist() == [101]
    assert np.allclose(train["series"][0] * 518, meta["series"][:101], rtol=1e-6)


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


def test_the_sonnet_is_all_of_its_trigrams_in_order():
    train, test, meta = load("sonnet", "text")
    assert test is None and train["x"].shape == (113, 2) and train["y"].shape == (113,)
    words = np.array(meta["vocabulary"])
    assert len(words) == len(set(words)) == 97 == RECIPES["ngram_lm"].log_every - 16
    assert words[train["x"][0]].tolist() == ["When", "forty"] and words[train["y"][0]] == "winters"
    assert words[train["x"][-1]].tolist() == ["feel'st", "it"] and words[train["y"][-1]] == "cold."
    text = " ".join([*words[train["x"][0]], *words[train["y"]]])
    assert "so gazed on now, Will be a totter'd weed" in text


def test_tagged_sentences_are_padded():
    train, test, meta = load("tagged_sentences", "tagged")
    assert meta["tags"] == ["DET", "NN", "V"]
    assert meta["vocabulary"] == ["the", "dog", "ate", "apple", "everybody", "read", "that", "book"]
    assert train["words"].tolist() == [[0, 1, 2, 0, 3], [4, 5, 6, 7, 8]]  # 8: no word
    assert train["tags"].tolist() == [[0, 1, 2, 0, 1], [1, 2, 0, 1, -1]]
    assert train["lengths"].tolist() == [[3, 3, 3, 3, 5], [9, 4, 4, 4, 1]]
    assert train["characters"].shape == (2, 5, 9)
    assert train["characters"][0, 1].tolist() == [3, 14, 6] + [26] * 6  # d o g
    assert test["tags"].tolist() == [[1, 2, 0, 1]] and test["words"].tolist() == [[4, 2, 0, 3]]


def test_texts_of_ones_own_fit_the_model(tmp_path):
    text, tagged = tmp_path / "text.txt", tmp_path / "tagged.txt"
    text.write_text("one two three one\n two four ")
    tagged.write_text("A/B/DET 3/NUM\n\n Élan/NN\n", encoding="utf-8")
    data = load(f"text:{text}", "text")
    assert data.meta["vocabulary"] == ["one", "two", "three", "four"] and data.train["y"].tolist() == [
        2,
        0,
        1,
        3,
    ]
    options = fit_options(RECIPES["ngram_lm"], data.meta).options
    assert abstract_model(dataclasses.replace(RECIPES["ngram_lm"], options=options)).fc[2].out_features == 4
    data = load(f"tagged:{tagged}", "tagged")
    assert (
        data.meta == {"vocabulary": ["a/b", "3", "élan"], "tags": ["DET", "NUM", "NN"]} and data.test is None
    )
    assert data.train["characters"][0].tolist() == [[0, 26, 1, 26], [26, 26, 26, 26]]
    fitted = fit_options(RECIPES["lstm_tagger"], data.meta)
    assert fitted.options == {"vocabulary_size": 3}
    model = abstract_model(fitted)
    assert model.word_embedding.num_embeddings == 4 and model.fc.out_features == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("text", "two words", "has 2 words: a trigram needs 3"),
        ("text", None, "is not a file"),
        ("text", b"\xff\xfe\x00", "cannot be read"),
        ("tagged", "the/DET dog\n", "line 1: 'dog' is not written word/TAG"),
        ("tagged", "a/B\n\nc/\n", "line 3: 'c/' is not written word/TAG"),
        ("tagged", " \n", "has no sentences"),
        ("tagged", None, "is not a file"),
        ("tagged", b"\xff\xfe\x00", "cannot be read"),
        ("csv", "1\n2\n3\n", "has 3 values of 1: a series needs at least 10"),
        ("csv", "price\n" + "7\n" * 12, "all values of price are 7, there is nothing to forecast"),
        ("csv", "1\n2\nx\n", "line 3, column 1: 'x' is not a finite number"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(name, text, message, tmp_path):
    file = tmp_path / "file.txt"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    kind = {"csv": "forecast"}.get(name, name)
    with pytest.raises(ValueError, match=f"file.txt.*{message}"):
        load(f"{name}:{file}", kind)


def test_another_kind_of_data_is_refused():
    with pytest.raises(
        ValueError, match=r"sonnet holds words, and this takes a time series: use csv, airline"
    ):
        load("sonnet", "forecast")


def test_a_series_of_ones_own(tmp_path):
    file = tmp_path / "sales.csv"
    file.write_text("day,sales\n" + "".join(f"d{n},{n * n}\n" for n in range(12)))
    train, test, meta = load(f"csv:{file}", "forecast")
    assert meta["columns"] == ["sales"] and meta["scale"] == 121 and meta["held"] == 9
    assert train["series"].shape == (1, 9) and test["series"][0, -1] == 1


def test_another_window_needs_a_model_for_it():
    recipe, model = built("lstm_regressor")
    recipe = dataclasses.replace(recipe, window=3)
    with pytest.raises(
        ValueError, match="takes windows of 2 values, and --window is 3: add --options input_features 3"
    ):
        build_task(recipe, model)
    recipe = dataclasses.replace(recipe, options={"input_features": 3})
    task = build_task(recipe, build_model(recipe))
    assert task.prepare({"series": jnp.zeros((1, 10))}, None)["x"].shape == (7, 1, 3)
    with pytest.raises(ValueError, match="--window is 3, and the series to train on has 3 values"):
        task.prepare({"series": jnp.zeros((1, 3))}, None)


# What a pass means


@pytest.mark.parametrize("model", ("ngram_lm", "lstm_tagger"))
def test_many_steps_in_a_dispatch_mean_the_same(model):
    with jax.enable_x64(True):
        task, feed = small_run(model)
        length = 2 * feed.steps_per_epoch if model == "lstm_tagger" else feed.steps_per_epoch
        call, state, singles = compile_steps(task, feed, length), as_float64(task.initial_state()), []
        many, losses = call(as_float64(state), feed.inputs(0, length), length)
        for step in range(length):
            state, loss = call(state, feed.inputs(step, 1), 1)
            singles.append(float(loss["loss"][0]))
    assert difference(np.asarray(losses["loss"]), np.asarray(singles)) <= 1e-12
    errors = jax.tree.map(lambda a, b: difference(np.asarray(a), np.asarray(b)), many, state)
    assert max(jax.tree.leaves(errors)) <= 1e-12 and int(many.step) == length


@pytest.mark.parametrize("model", SEQUENCES)
def test_a_pass_is_one_dispatch(model):
    task, feed = small_run(model)
    longest = fast_steps_per_call(built(model)[1])
    cadence = Cadence.of(task.recipe, feed)
    assert min(longest, cadence.until_next(0)) >= feed.steps_per_epoch
    assert cadence.log % feed.steps_per_epoch == 0
    assert feed.refresh_every is None  # in order


def test_a_language_model_trains_as_in_torch():
    """Two passes of single trigrams, in order, against the reference loop: losses and weights in float64."""
    with jax.enable_x64(True):
        task, feed = small_run("ngram_lm")
        recipe, steps = task.recipe, 2 * feed.steps_per_epoch
        call = compile_steps(task, feed, steps)
        _, losses = call(as_float64(task.initial_state()), feed.inputs(0, steps), steps)
        ours = np.asarray(losses["loss"])
    theirs = pair_of("ngram_lm")[1].double()
    step = REFERENCE_STEPS[recipe.task](theirs, build_torch_optimizers(recipe, theirs), **recipe.step_options)
    train = load("sonnet", "text").train
    x, y = (torch.tensor(train[name]).long() for name in "xy")
    expected = [step({"x": x[i : i + 1], "y": y[i : i + 1]}, {})["loss"].item() for i in [*range(113)] * 2]
    assert difference(ours, np.asarray(expected)) <= TOLERANCES["float64"].losses
    assert ours[113:].mean() < ours[:113].mean()
