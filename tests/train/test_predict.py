"""What trained sequence models have learned, and the command that asks them."""

import dataclasses
import functools
import json
import shutil
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from PIL import Image

from tests.train.runs import call_commands
from train import predict
from train.engine.loop import train
from train.engine.metrics import is_metric, read_metrics
from train.engine.runs import load_run
from train.recipes import RECIPES

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]


def trained(model: str, folder: Any, **fields: Any) -> Any:
    """The folder of a run with few images and checkpoints."""
    seldom: dict[str, Any] = {"sample_every": 10**6, "checkpoint_every": 10**6, "evaluate_every": 10**6}
    train(dataclasses.replace(RECIPES[model], **{**seldom, **fields}), folder / model, folder, quiet=True)
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


@pytest.fixture(scope="module")
def loaded():
    return functools.cache(load_run)


@pytest.fixture(autouse=True)
def load_once(monkeypatch, loaded):
    """A run is read from its folder once for all tests."""
    monkeypatch.setattr("train.engine.runs.load_run", loaded)


def test_the_language_model_learns_the_sonnet(language_model, loaded):
    losses = {record["epoch"]: record["loss"] for record in read_metrics(language_model)}
    assert list(losses) == list(range(1, 101))  # every epoch has its line
    for epochs, loss in {20: 0.87, 40: 0.15, 60: 0.09, 80: 0.075, 100: 0.066}.items():
        assert losses[epochs] == pytest.approx(loss, rel=0.15)
    answer = loaded(language_model).answer(context="so gazed", top=97)
    words, probabilities = zip(*answer.values, strict=True)
    assert words[0] == "on" and probabilities[0] > 0.9
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)
    assert list(probabilities) == sorted(probabilities, reverse=True)
    assert len(set(words)) == 97


def test_the_tagger_tags_a_sentence_that_it_was_not_trained_on(tagger, loaded):
    run = loaded(tagger)
    tags = [tag for _, tag, _ in run.answer(sentence="Everybody ate the apple").values]
    assert tags == ["NN", "V", "DET", "NN"]
    assert [known for _, _, known in run.answer(sentence="the Banana").values] == [True, False]
    last = read_metrics(tagger)[-1]
    assert last["test_accuracy"] == 1 and last["test_loss"] < 0.3


def test_a_regressor_uses_its_forecasts_as_inputs(regressor, loaded):
    run = loaded(regressor)
    values = run.answer(steps_ahead=3).values
    assert values["real"][:2] == [112, 118] and len(values["predicted"]) == 142 and values["held"] == 101
    model = nnx.clone(run.model)
    model.eval()
    graph, state = nnx.split(model)
    call = jax.jit(lambda state, x: nnx.merge(graph, state)(x)[:, 0, 0])
    series, outputs = [value / 518 for value in values["real"]], jnp.empty(0)
    for _ in range(3):
        known = np.asarray(series, np.float32)
        outputs = call(state, jnp.asarray(np.stack([known[:-1], known[1:]], 1)[:, None]))
        series.append(float(outputs[-1]))
    assert np.allclose(values["ahead"], np.asarray(series[-3:]) * 518, rtol=1e-4)
    assert np.allclose(values["predicted"], np.asarray(outputs[:142]) * 518, rtol=1e-4)
    held = np.subtract(values["predicted"][-43:], values["real"][-43:])
    assert values["errors"]["held out"] == pytest.approx(np.sqrt(np.square(held).mean()))
    record = read_metrics(regressor)[-1]
    assert values["errors"]["held out"] == pytest.approx(np.sqrt(record["test_loss"]) * 518, rel=1e-3)


def test_the_command_writes_the_forecast(regressor, loaded, capsys):
    predict.main([str(regressor)])
    output = capsys.readouterr().out
    assert "passengers" in output and "│ 12 " in output and "held out" in output
    assert output.endswith(f"wrote {regressor / 'prediction'}/: forecast.json, forecast.png\n")
    assert json.loads((regressor / "prediction" / "forecast.json").read_text()) == (
        loaded(regressor).answer().values
    )
    for path in (regressor / "prediction" / "forecast.png", *(regressor / "samples").iterdir()):
        with Image.open(path) as image:
            assert image.size[0] > 500 and len(np.unique(np.asarray(image))) > 10


def test_the_command_asks_each_kind_of_run(language_model, tagger, capsys):
    predict.main([str(language_model), "--context", "so gazed", "--top", "2"])
    output = capsys.readouterr().out
    assert "after 'so gazed'" in output and output.count("0.") == 2
    predict.main([str(tagger), "--sentence", "everybody [red] apple"])
    output = capsys.readouterr().out
    assert "[red]" in output and output.count("never seen") == 1


@pytest.mark.parametrize(
    ("model", "arguments", "message"),
    [
        ("ngram_lm", ["--context", "so gazd"], "unknown word 'gazd': did you mean gazed"),
        ("ngram_lm", ["--context", "gazed"], "context takes two words"),
        ("ngram_lm", ["--context", "so gazed on"], "context takes two words"),
        ("ngram_lm", ["--context", "so gazed", "--top", "0"], "top must be at least 1, got 0"),
        ("ngram_lm", [], "ngram_lm needs the argument --context"),
        ("ngram_lm", ["--sentence", "so"], "ngram_lm does not take --sentence; it takes --context, --top"),
        ("lstm_tagger", ["--sentence", " "], "sentence has no words"),
        ("lstm_tagger", [], "lstm_tagger needs the argument --sentence"),
        ("rnn_regressor", ["--steps-ahead", "0"], "steps_ahead must be at least 1, got 0"),
        (
            "rnn_regressor",
            ["--context", "a b"],
            "rnn_regressor does not take --context; it takes --steps-ahead",
        ),
        ("nothing", [], "is not a run folder"),
    ],
)
def test_a_question_that_does_not_suit_is_an_error_of_one_line(
    model, arguments, message, regressor, language_model, tagger, folder
):
    with pytest.raises(ValueError, match=message) as error:
        predict.main([str(folder / model), *arguments])
    assert "\n" not in str(error.value).strip()


@pytest.mark.parametrize(
    ("question", "message"),
    [
        ({}, "ngram_lm needs the argument context"),
        ({"sentence": "so"}, "ngram_lm does not take sentence; it takes context, top"),
    ],
)
def test_a_question_in_python_is_checked_too(question, message, language_model, loaded):
    with pytest.raises(ValueError, match=message):
        loaded(language_model).answer(**question)


def test_a_run_that_cannot_answer_is_refused(tmp_path):
    (tmp_path / "recipe.json").write_text(json.dumps(RECIPES["dcgan"].to_json()))
    message = r"dcgan \(task gan\) cannot answer questions; it can sample"
    with pytest.raises(ValueError, match=message):
        predict.main([str(tmp_path)])


def test_a_run_without_its_vocabulary_is_refused(language_model, tmp_path):
    shutil.copytree(language_model, tmp_path / "run")
    (tmp_path / "run" / "data.json").write_text("{")
    arguments = [str(tmp_path / "run"), "--context", "so gazed"]
    with pytest.raises(ValueError, match=r"data\.json cannot be read"):
        predict.main(arguments)
    (tmp_path / "run" / "data.json").unlink()
    with pytest.raises(ValueError, match=r"has no data\.json, .*: python -m train\.run --model ngram_lm"):
        predict.main(arguments)


def test_bad_flags_are_answered_without_jax(language_model, tmp_path):
    calls = [("train.predict", [str(language_model)]), ("train.predict", ["run", "--step-ahead", "3"])]
    missing, unknown = call_commands(calls, tmp_path)
    assert missing.status == unknown.status == 2 and missing.loaded == unknown.loaded == []
    assert missing.stderr == "python -m train.predict: ngram_lm needs the argument --context\n"
    assert "--step-ahead" in unknown.message and "--steps-ahead" in unknown.message


def test_accuracies_and_losses_are_plotted(tagger):
    names = set(filter(is_metric, read_metrics(tagger)[-1]))
    assert names == {"accuracy", "loss", "test_accuracy", "test_loss"}
    with Image.open(tagger / "curves.png") as image:
        assert image.size[0] == 2 * 7 * 120  # losses and accuracies side by side
