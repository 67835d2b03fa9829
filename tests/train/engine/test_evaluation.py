"""Evaluation: the metrics over a split, the report of a classifier, and the table over seeds."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.conftest import tiny_recipe
from train import evaluate
from train.engine.evaluation.classification import ClassificationReport
from train.engine.evaluation.report import Metric, seed_table
from train.engine.evaluation.split import SplitEvaluator
from train.engine.metrics import read_metrics
from train.engine.runs import load_run
from train.recipes import load_recipe_data

pytestmark = pytest.mark.standard_promotion("training runs under jax's default promotion")


def test_metrics_of_training_and_of_the_test_split_are_in_the_records(classifier):
    records = read_metrics(classifier)
    evaluated = [record for record in records if "test_accuracy" in record]
    assert [record["epoch"] for record in evaluated] == [1, 2, 3, 4]
    assert {"loss", "accuracy", "test_loss", "seconds"} <= evaluated[-1].keys()
    seconds = [record["seconds"] for record in records]
    assert seconds == sorted(seconds) and 0 <= seconds[0] < seconds[-1]


def test_training_learns_the_digits(classifier):
    """Guessing has an accuracy of 0.1. Four epochs teach more than one."""
    records = [record for record in read_metrics(classifier) if "test_accuracy" in record]
    accuracies = [record["test_accuracy"] for record in records]
    losses = [record["test_loss"] for record in records]
    assert 0.3 < accuracies[0] < 0.8 < accuracies[-1] <= 1
    assert losses[0] > 1.5 * losses[-1]


def test_the_last_partial_batch_of_the_test_split_counts(classifier, data_dir):
    run = load_run(classifier)
    test = load_recipe_data(run.recipe, data_dir).test
    assert isinstance(test, dict) and len(test["label"]) == 297  # 4 * 64 + 41
    found = SplitEvaluator(run.task, test, 64)(run.state)
    outputs = run.predict(test["image"])
    loss = F.cross_entropy(torch.tensor(outputs), torch.tensor(test["label"]).long())
    assert found["test_accuracy"] == pytest.approx((outputs.argmax(1) == test["label"]).mean())
    assert found["test_loss"] == pytest.approx(float(loss), rel=1e-5)
    assert read_metrics(classifier)[-1]["test_accuracy"] == pytest.approx(found["test_accuracy"])


def test_the_command_writes_the_report_of_a_classifier(classifier, data_dir, capsys):
    evaluate.main([str(classifier), "--data-dir", str(data_dir)])
    assert "most often confused with" in capsys.readouterr().out
    values = json.loads((classifier / "evaluation" / "evaluation.json").read_text())
    confusion = np.array(values["confusion"])
    assert values["examples"] == confusion.sum() == 297
    assert values["accuracy"] == pytest.approx(confusion.trace() / 297)
    assert values["accuracy"] == pytest.approx(read_metrics(classifier)[-1]["test_accuracy"])
    assert values["class_accuracies"]["7"] == pytest.approx(confusion[7, 7] / confusion[7].sum())
    names = {path.name for path in (classifier / "evaluation").iterdir()}
    assert names == {"evaluation.json", "confusion.png", "predictions.png"}


def test_a_report_counts_and_shows_wrong_examples_first():
    actual, predicted = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    split = {"image": np.zeros((5, 4, 4, 1), np.uint8), "label": actual}
    report = ClassificationReport("test", split, ("cat", "dog", "cow"), 0.5, predicted, actual)
    assert report.counts.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert report.accuracy == 0.6 and report.metrics == {"test accuracy": Metric(0.6)}
    assert report.class_accuracies == {"cat": 0.5, "dog": 2 / 3, "cow": None}
    assert report._shown_rows().tolist() == [1, 4, 0, 2, 3]
    text = report.show()
    assert "accuracy 0.6000" in text and "dog (1)" in text and "cat (1)" in text


def test_the_command_evaluates_a_regression_by_its_loss(data_dir, tmp_path, capsys):
    from train.engine.loop import train

    recipe = tiny_recipe("linear_regression", take=None, batch_size=None, steps=50, sample_every=50)
    train(recipe, tmp_path / "run", data_dir, quiet=True)
    evaluate.main([str(tmp_path / "run"), "--data-dir", str(data_dir)])
    values = json.loads((tmp_path / "run" / "evaluation" / "evaluation.json").read_text())
    run = load_run(tmp_path / "run", data_dir=data_dir)
    data = run.load_data().train
    assert isinstance(data, dict) and values["split"] == "training"
    assert values["loss"] == pytest.approx(np.square(run.predict(data["x"]) - data["y"]).mean(), rel=1e-5)
    assert f"loss {values['loss']:.4g} on the training split" in capsys.readouterr().out


def test_runs_that_differ_in_their_seed_share_a_row():
    recipes = [tiny_recipe("gan", seed=n) for n in range(3)] + [tiny_recipe("gan", ema=0.9)]
    metrics = [{"distance of samples": Metric(value, 0.5)} for value in (1.0, 2.0, 3.0, 7.0)]
    *_, together, alone = seed_table(recipes, metrics).splitlines()
    assert together == "| gan (hidden_features 32) | distance of samples | 3 | 2 | 1 | 0.5 |"
    assert alone == "| gan (hidden_features 32) | distance of samples | 1 | 7 |  | 0.5 |"


def test_the_command_shows_several_runs_in_a_table(classifier, data_dir, capsys):
    evaluate.main([str(classifier), str(classifier), "--data-dir", str(data_dir)])
    accuracy = read_metrics(classifier)[-1]["test_accuracy"]
    line = capsys.readouterr().out.splitlines()[-1]
    assert line == f"| fashion_mlp (hidden_features 16) | test accuracy | 2 | {accuracy:.4g} | 0 |  |"


def test_a_folder_without_a_run_is_one_clear_error(tmp_path):
    with pytest.raises(ValueError, match="is not a run folder"):
        evaluate.main([str(tmp_path)])
    with pytest.raises(ValueError, match="a run folder is needed"):
        evaluate.main([])


def test_predictions_are_of_images_in_bytes_or_in_floats(classifier, data_dir):
    run = load_run(classifier)
    test = load_recipe_data(run.recipe, data_dir).test
    assert isinstance(test, dict)
    images = test["image"][:20]
    outputs = run.predict(images)
    assert outputs.shape == (20, 10)
    np.testing.assert_allclose(outputs, run.predict(jnp.asarray(images, jnp.float32) / 255), atol=1e-5)
    assert run.classify(images) == [str(n) for n in outputs.argmax(1)]
