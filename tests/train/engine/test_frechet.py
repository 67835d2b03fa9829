"""The Fréchet distance: its formula, and the classifier whose features it uses."""

import dataclasses
import json
import shutil
from typing import Any

import numpy as np
import pytest

from tests.conftest import tiny_recipe
from train import evaluate
from train.engine.evaluation import frechet
from train.engine.loop import train
from train.engine.runs import load_run
from train.optim import SGD
from train.recipes import RECIPES, Recipe

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]


def test_the_distance_of_known_normal_distributions():
    rng = np.random.default_rng(0)
    a = rng.normal(size=(200_000, 3))
    b = a * [1, 2, 3] + [1, 0, 0]
    # The means are 1 apart. For diagonal covariances the rest is the sum of (deviation - deviation)**2.
    assert frechet.frechet_distance(a, b) == pytest.approx(1 + 0 + 1 + 4, rel=0.02)
    assert frechet.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    assert frechet.frechet_distance(a @ rotation, b @ rotation) == pytest.approx(6, rel=0.02)


SMALL = tiny_recipe("fashion_mlp", take=None, steps=None, epochs=1, optimizer=SGD(lr=0.1))
CLASSIFIERS = [
    pytest.param(SMALL, id="fashion_mlp"),
    pytest.param(dataclasses.replace(RECIPES["lenet5"], epochs=2), id="lenet5", marks=pytest.mark.heavy),
]


@pytest.mark.parametrize("judge", CLASSIFIERS)
def test_a_generator_is_evaluated_by_a_classifier_that_is_trained_once(
    judge, small_run, tmp_path, monkeypatch, capsys
):
    trained = []

    def recording_train(recipe: Recipe, *args: Any) -> Recipe:
        trained.append(recipe.model)
        return train(recipe, *args, quiet=True)

    run = shutil.copytree(small_run, tmp_path / "run")
    monkeypatch.setitem(RECIPES, judge.model, judge)
    monkeypatch.setitem(frechet.CLASSIFIERS, (28, 28, 1), judge.model)
    monkeypatch.setattr(frechet, "train", recording_train)
    found = []
    for seed in ("0", "1"):
        evaluate.main([str(run), "--data-dir", str(tmp_path), "--seed", seed])
        (values,) = json.loads((run / "evaluation" / "distance.json").read_text())["distances"]
        assert "Fréchet distance of 1500 samples" in capsys.readouterr().out
        found.append(values)
    assert trained == [judge.model]
    assert found[0]["examples"] == 1500 and found[0]["made"] == "samples"
    assert found[0]["judge"].startswith(f"{judge.model} trained on digits, test accuracy")
    assert found[1]["judge"] == found[0]["judge"] and found[1]["distance"] != found[0]["distance"]
    assert 0 < found[0]["test_split"] < found[0]["distance"]  # after six steps samples are unlike digits


def test_images_of_a_shape_without_a_classifier_are_refused(data_dir):
    with pytest.raises(ValueError, match=r"images of 30x30x1\W.* 28x28x1, 32x32x3, 64x64x3"):
        frechet.feature_extractor_for(RECIPES["dcgan"], (30, 30, 1), data_dir)


def test_rows_of_numbers_are_their_own_features(painter, data_dir):
    report = load_run(painter, data_dir=data_dir).evaluate()
    (metric,) = report.metrics.values()
    assert metric.real is not None and 0 <= metric.real < 0.01 < metric.value
    assert "features by the heights themselves" in report.show()
