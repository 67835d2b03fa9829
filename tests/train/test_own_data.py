"""Data of one's own: classifiers of folders and tables, regressions of several features, and broken files."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flax import nnx
from PIL import Image

from flax_models import layers as nn
from tests.conftest import tiny_recipe
from train.data.readers.tagged import MAX_CHARACTERS, encode_words
from train.data.sources import Data
from train.engine.runs import fit, load_run
from train.recipes import RECIPES, load_recipe_data

pytestmark = [
    pytest.mark.jax_only,
    pytest.mark.standard_promotion("training runs under jax's default promotion"),
]

QUICK: dict[str, Any] = {"quiet": True, "sample_every": 10**6, "checkpoint_every": 10**6}


def write_table(path: Path, rows: list[tuple[Any, ...]], delimiter: str = ",") -> str:
    with open(path, "w", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return f"csv:{path}"


def save_images(folder: Path, count: int, shade: int = 0) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        Image.new("L", (28, 28), shade + number).save(folder / f"{number:02}.png")


# Labels.


def test_a_classifier_needs_two_classes_and_an_autoencoder_does_not(tmp_path):
    save_images(tmp_path / "images" / "cat", 12)
    dataset = f"folder:{tmp_path / 'images'}"
    with pytest.raises(ValueError, match="a classifier needs two classes, and the data has 1: cat"):
        fit("lenet", tmp_path / "run", dataset=dataset, steps=1, batch_size=4, quiet=True)
    assert not (tmp_path / "run").exists()
    data = load_recipe_data(tiny_recipe("conv_autoencoder", dataset=dataset), tmp_path)
    assert data.meta["classes"] == ["cat"]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [((0, 1), ["0", "1"]), ((-1, 1), ["-1", "1"]), ((0, -1), ["-1", "0"]), ((1, 2), ["1", "2"]),
     (("no", "yes"), ["no", "yes"])],
)  # fmt: skip
def test_two_values_are_two_classes_of_a_logistic_regression(labels, classes, tmp_path):
    dataset = write_table(tmp_path / "t.csv", [(n, n % 3, labels[n >= 5]) for n in range(10)])
    recipe = tiny_recipe("logistic_regression", dataset=dataset, batch_size=None, take=None, options={})
    data: Any = load_recipe_data(recipe, tmp_path)
    high = classes.index(str(labels[1]))
    assert data.meta["classes"] == classes and data.train["y"].dtype == np.float32
    assert data.train["y"].tolist() == [[1 - high]] * 5 + [[high]] * 5


def test_arrays_with_two_other_labels_train_and_are_evaluated(tmp_path):
    x = np.random.default_rng(0).standard_normal((10, 2)).astype(np.float32)
    y = np.where(np.arange(10) < 5, -1.0, 1.0)[:, None]
    run = fit("logistic_regression", tmp_path / "run", (x, y), steps=3, **QUICK)
    assert run.meta["classes"] == ["-1", "1"] and run.metrics[-1]["loss"] > 0
    assert run.evaluate((x, y)).metrics == run.evaluate().metrics
    (accuracy,) = run.evaluate((x[5:], y[5:])).metrics.values()  # the labels of one class are enough
    assert accuracy.value == np.mean(np.array(run.classify(x[5:])) == "1")
    with pytest.raises(ValueError, match="3 is no class of the run, which has -1, 1"):
        run.evaluate((x, y + 2))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (range(3), "the loss bce distinguishes two classes, and the data has 3: 0, 1, 2"),
        ([7], "a classifier needs two classes, and the data has 1: 7"),
        ("abcdefg", "and the data has 7: a, b, c, d, e and 2 more"),
    ],
)
def test_any_other_number_of_values_is_an_error_that_names_them(labels, message, tmp_path):
    rows = [(n, n % 3, label) for n, label in enumerate([*labels, *labels])]
    with pytest.raises(ValueError, match=message):
        fit("logistic_regression", tmp_path / "run", dataset=write_table(tmp_path / "t.csv", rows), **QUICK)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([0.5, 1.0]), "the labels of a classifier are whole numbers, got 0.5"),
        (np.array([np.nan, 1.0]), "whole numbers, got nan"),
        (np.array([[0.0], [0.0]]), "needs two classes, and the data has 1: 0"),
    ],
)
def test_labels_of_arrays_are_checked(labels, message):
    with pytest.raises(ValueError, match=message):
        RECIPES["logistic_regression"].fit_data(Data({"x": np.zeros((2, 2)), "y": labels}, None, {}))


def test_labels_of_images_are_checked():
    images = np.zeros((3, 28, 28, 1), np.uint8)
    recipe: Any = RECIPES["lenet"]
    with pytest.raises(ValueError, match="the label 2 is no class: the labels are from 0 to 1"):
        recipe.fit_data(
            Data({"image": images, "label": np.array([0, 1, 2])}, None, {"classes": ["cat", "dog"]})
        )
    with pytest.raises(ValueError, match="a classifier needs labels, and the data has none"):
        recipe.fit_data(Data({"image": images}, None, {}))
    of_pixels = Data({"image": images, "label": np.zeros((3, 28, 28), np.int32)}, None, {})
    assert recipe.fit_data(of_pixels) is of_pixels


class Wide(nnx.Module):
    """Logits of a table: in_features and num_classes are fitted to it."""

    def __init__(self, in_features: int = 1, num_classes: int = 2, *, rngs: nnx.Rngs):
        self.fc = nn.Linear(in_features, num_classes, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.fc(x)


def test_a_table_of_words_trains_a_classifier_of_ones_own(tmp_path):
    rows = [("a", "b", "kind"), *((n, n * n, "xyz"[n % 3]) for n in range(12))]
    dataset = write_table(tmp_path / "t.csv", rows, ";")
    run = fit(model=Wide, task="classify", dataset=dataset, steps=2, batch_size=4, quiet=True)
    assert run.recipe.options == {"in_features": 2, "num_classes": 3} and run.meta["classes"] == [
        "x",
        "y",
        "z",
    ]
    assert set(run.classify(np.zeros((1, 2), np.float32))) <= {"x", "y", "z"}


# Regressions.


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_regression_takes_as_many_features_as_the_table_has(delimiter, tmp_path):
    rng = np.random.default_rng(0)
    rows = [(*x, 1 + x @ [2, -3, 0.5]) for x in rng.uniform(-1, 1, (40, 3)).round(3)]
    dataset = write_table(tmp_path / "t.csv", [("a", "b", "c", "y"), *rows], delimiter)
    optimizer = type(RECIPES["linear_regression"].optimizers[""])(lr=0.2)
    run = fit("linear_regression", tmp_path / "run", dataset=dataset, steps=300, optimizer=optimizer, **QUICK)
    assert run.recipe.options == {"in_features": 3} and run.metrics[-1]["loss"] < 1e-3
    weight = np.asarray(run.model.linear.weight.get_value()).reshape(-1)
    assert np.allclose(weight, [2, -3, 0.5], atol=0.05)
    assert load_run(tmp_path / "run").predict(np.zeros((1, 3), np.float32)).shape == (1, 1)


# Files.


def test_skipped_files_are_counted_and_named(tmp_path, capsys):
    save_images(tmp_path / "images" / "dark", 10)
    save_images(tmp_path / "images" / "light", 10, 200)
    (tmp_path / "images" / "light" / "broken.png").write_bytes(b"no image")
    options: dict[str, Any] = {"dataset": f"folder:{tmp_path / 'images'}", "steps": 1, "batch_size": 4}
    with pytest.raises(ValueError, match=r"broken\.png .*--skip-unreadable trains without them"):
        fit("lenet", tmp_path / "run", **options)
    capsys.readouterr()
    options["options"] = {"hidden_features": 4}
    run = fit("fashion_mlp", tmp_path / "run", skip_unreadable=True, **options)
    assert "skipped 1 unreadable" in (output := capsys.readouterr().out) and "broken.png" in output
    assert len(run.meta["skipped"]) == 1
    assert load_run(tmp_path / "run").recipe.image_settings.skip_unreadable


def test_long_words_are_cut_and_long_sentences_are_refused():
    arrays = encode_words([["a" * 10**6, "b"], ["c"]], ["b"])
    assert arrays["characters"].shape == (2, 2, MAX_CHARACTERS) and arrays["lengths"].max() == MAX_CHARACTERS
    assert arrays["words"].tolist() == [[1, 0], [1, 1]]
    assert encode_words([["Ab"]], [])["characters"].tolist() == [[[0, 1]]]
    with pytest.raises(ValueError, match=r"20,001 sentences, padded to the 20,000 words .* split"):
        encode_words([["a"] * 20_000, *[["a"]] * 20_000], [])
