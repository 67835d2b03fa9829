"""What trained sequence models show, and the command that asks them."""

import dataclasses
import functools
import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks import epoch
from train import predict
from train.engine.loop import train
from train.engine.metrics import is_metric
from train.engine.runs import load_run
from train.recipes import RECIPES


def trained(model, folder, **fields):
    """The folder of a run with as few pictures and checkpoints as can be."""
    seldom = {"sample_every": 10**6, "checkpoint_every": 10**6, "evaluate_every": 10**6}
    train(dataclasses.replace(RECIPES[model], **{**seldom, **fields}), folder / model, folder)
    return folder / model


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def regressor(folder):
    return trained("rnn_regressor", folder, steps=200)


@pytest.fixture(scope="module")
def language_model(folder):
    return trained("ngram_lm", folder)


@pytest.fixture(scope="module")
def tagger(folder):
    return trained("lstm_tagger", folder, log_every=600)


@pytest.fixture(autouse=True)
def read_once(monkeypatch, loaded):
    """A run is read from its folder once for all tests."""
    monkeypatch.setattr("train.engine.runs.load_run", loaded)


@pytest.fixture(scope="module")
def loaded():
    return functools.cache(load_run)


def records_of(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_the_language_model_learns_the_sonnet(language_model):
    losses = {record["epoch"]: record["loss"] for record in records_of(language_model)}
    assert list(losses) == list(range(1, 101))  # every pass has its line
    for passes, loss in {20: 0.87, 40: 0.15, 60: 0.09, 80: 0.075, 100: 0.066}.items():
        assert losses[passes] == pytest.approx(loss, rel=0.15)
    words = predict.next_words(language_model, "so gazed", top=97)
    assert words[0][0] == "on" and words[0][1] > 0.9
    assert sum(probability for _, probability in words) == pytest.approx(1, abs=1e-5)
    assert [p for _, p in words] == sorted((p for _, p in words), reverse=True)


def test_the_tagger_tags_a_new_sentence(tagger):
    assert [tag for _, tag, _ in predict.tag_words(tagger, "Everybody ate the apple")] == [
        "NN",
        "V",
        "DET",
        "NN",
    ]
    assert [seen for _, _, seen in predict.tag_words(tagger, "the Banana")] == [True, False]
    last = records_of(tagger)[-1]
    assert last["test_accuracy"] == 1 and last["test_loss"] < 0.3


def test_a_regressor_forecasts_by_feeding_its_forecasts_back(regressor):
    result = predict.forecast(regressor, steps_ahead=3)
    assert result.real[:2] == [112, 118] and len(result.predicted) == 142 and result.held == 101
    model = nnx.clone(load_run(regressor).model)
    model.eval()
    graph, state = nnx.split(model)
    call = jax.jit(lambda state, x: nnx.merge(graph, state)(x)[:, 0, 0])
    series = [value / 518 for value in result.real]
    for _ in range(3):
        values = np.asarray(series, np.float32)
        outputs = call(state, jnp.asarray(np.stack([values[:-1], values[1:]], 1)[:, None]))
        series.append(float(outputs[-1]))
    assert np.allclose(result.ahead, np.asarray(series[-3:]) * 518, rtol=1e-4)
    assert np.allclose(result.predicted, np.asarray(outputs[:142]) * 518, rtol=1e-4)
    held = np.subtract(result.predicted[-43:], result.real[-43:])
    assert result.errors["held out"] == pytest.approx(np.sqrt(np.square(held).mean()))
    record = records_of(regressor)[-1]
    assert result.errors["held out"] == pytest.approx(np.sqrt(record["test_loss"]) * 518, rel=1e-3)
    written = json.loads((regressor / "prediction" / "forecast.json").read_text())
    assert written["ahead"] == result.ahead and written["errors"] == result.errors
    from PIL import Image

    for path in (regressor / "prediction" / "forecast.png", *(regressor / "samples").iterdir()):
        with Image.open(path) as picture:
            assert picture.size[0] > 500 and len(np.unique(np.asarray(picture))) > 10


def test_the_command_asks_each_kind_of_run(regressor, language_model, tagger, capsys):
    predict.main([str(regressor)])
    assert "passengers" in (out := capsys.readouterr().out) and "│ 12 " in out and "held out" in out
    predict.main([str(language_model), "--context", "so gazed", "--top", "2"])
    assert "after 'so gazed'" in (out := capsys.readouterr().out) and out.count("0.") == 2
    predict.main([str(tagger), "--sentence", "everybody [red] apple"])
    assert "[red]" in (out := capsys.readouterr().out) and out.count("never seen") == 1


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("ngram_lm", ["--context", "so gazd"], "unknown word 'gazd': did you mean gazed"),
        ("ngram_lm", ["--context", "gazed"], "--context takes two words"),
        ("ngram_lm", ["--context", "so gazed on"], "--context takes two words"),
        ("ngram_lm", ["--context", "so gazed", "--top", "0"], "--top must be at least 1, got 0"),
        ("ngram_lm", [], "--context is needed to ask ngram_lm"),
        ("ngram_lm", ["--sentence", "so"], "--sentence is not for ngram_lm, which takes --context, --top"),
        ("lstm_tagger", ["--sentence", " "], "--sentence has no words"),
        ("lstm_tagger", [], "--sentence is needed to ask lstm_tagger"),
        ("rnn_regressor", ["--steps-ahead", "0"], "--steps-ahead must be at least 1, got 0"),
        (
            "rnn_regressor",
            ["--context", "a b"],
            "--context is not for rnn_regressor, which takes --steps-ahead",
        ),
        ("rnn_regressor", ["--step-ahead", "3"], "did you mean --steps-ahead"),
        ("nothing", [], "is not a run folder"),
    ],
)
def test_what_cannot_be_asked_is_one_line(
    model, arguments, message, regressor, language_model, tagger, folder
):
    with pytest.raises(ValueError, match=message) as error:
        predict.main([str(folder / model), *arguments])
    assert "\n" not in str(error.value).strip()


def test_runs_that_cannot_be_asked(language_model, tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPES["dcgan"].to_json()))
    with pytest.raises(
        ValueError, match="holds dcgan: predict asks runs of the tasks sequence, language, tag"
    ):
        predict.main([str(tmp_path)])
    with pytest.raises(ValueError, match="holds ngram_lm, a run of the task language, not tag"):
        predict.tag_words(language_model, "a word")
    shutil.copytree(language_model, tmp_path / "run")
    (tmp_path / "run" / "data.json").write_text("{")
    with pytest.raises(ValueError, match=r"data\.json cannot be read"):
        predict.next_words(tmp_path / "run", "so gazed")
    (tmp_path / "run" / "data.json").unlink()
    with pytest.raises(
        ValueError, match=r"has no data\.json, which training writes: python -m train\.run --model ngram"
    ):
        predict.next_words(tmp_path / "run", "so gazed")


def test_a_wrong_flag_needs_no_jax(language_model):
    script = (
        "import sys; from train import predict\n"
        f"try: predict.main([{str(language_model)!r}])\n"
        "except ValueError: print(sorted({'jax', 'flax', 'matplotlib'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_measures_are_drawn(tagger):
    assert {"accuracy", "loss", "test_accuracy", "test_loss"} == set(
        filter(is_metric, records_of(tagger)[-1])
    )
    assert (tagger / "curves.png").stat().st_size > 10_000


# The benchmark


def test_the_benchmark_runs_the_same_steps_on_both_sides(folder):
    recipe = dataclasses.replace(RECIPES["ngram_lm"], options={"hidden_features": 8})
    ours, theirs, feed, steps = epoch.contenders(recipe, folder)
    assert steps == feed.steps_per_epoch == 113
    for _ in range(2):
        losses, expected = ours()["loss"], theirs()["loss"]
        assert np.allclose(np.asarray(losses), expected.numpy(), rtol=1e-4, atol=1e-5)


def test_the_benchmark_command(folder, capsys, tmp_path):
    epoch.main(
        [
            "--model",
            "linear_regression",
            "--rounds",
            "1",
            "--data-dir",
            str(folder),
            "--json",
            str(tmp_path / "t"),
        ]
    )
    assert capsys.readouterr().out.splitlines()[-1].startswith("| linear_regression | 1 | 50 |")
    (row,) = json.loads((tmp_path / "t").read_text())
    assert row["ratio"] == min(row["torch"][0], row["torch_one_thread"][0]) / row["flax"][0]
    with pytest.raises(ValueError, match="unknown model with many steps in a dispatch 'dcgan'"):
        epoch.main(["--model", "dcgan"])
