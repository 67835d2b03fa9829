"""Sets of numbers: the embedded ones, and CSV files of the user."""

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from train.data.load import load_data

pytestmark = pytest.mark.jax_only


def load(name, kind="table") -> Any:
    train, test, meta, *_ = load_data(name, Path("unused"), kind=kind)
    assert test is None and json.loads(json.dumps(meta)) == meta
    return train, meta


def test_points_have_the_known_least_squares_line():
    train, meta = load("points")
    x, y = train["x"], train["y"]
    assert x.shape == y.shape == (15, 1) and x.dtype == np.float32 and meta["columns"] == ["x", "y"]
    slope, intercept = np.polyfit(x[:, 0], y[:, 0], 1)
    assert np.allclose([slope, intercept], [0.25999, 0.74767], atol=1e-5)
    assert abs(np.square(slope * x + intercept - y).mean() - 0.16892) < 1e-5


def test_iris_petals_are_two_classes_of_fifty():
    train, meta = load("iris_petals", "labelled")
    assert train["x"].shape == (100, 2) and train["x"].dtype == np.float32 and train["y"].dtype == np.int32
    assert train["y"].tolist() == [0] * 50 + [1] * 50
    assert load("iris_petals")[0]["y"][:, 0].tolist() == train["y"].tolist()
    assert meta["columns"][0] == "petal length (cm)" and meta["classes"] == ["versicolor", "virginica"]
    means = [train["x"][train["y"] == label].mean(0) for label in (0, 1)]
    assert np.allclose(means, [[4.260, 1.326], [5.552, 2.026]], atol=1e-3)


def test_polynomial_batches_lie_on_the_curve():
    train, _ = load("polynomial")
    batch = jax.jit(train.generate, static_argnums=1)(jax.random.key(0), 1000)
    x, y = (np.asarray(batch[name], np.float64) for name in "xy")
    assert x.shape == (1000, 3) and y.shape == (1000, 1)
    assert np.allclose(x, x[:, :1] ** [1, 2, 3], rtol=1e-5)
    assert np.allclose(y, 0.9 + x @ [[0.5], [3], [2.4]], rtol=1e-4, atol=1e-4)
    assert abs(x[:, 0].mean()) < 0.1 and abs(x[:, 0].std() - 1) < 0.1


def test_random_pairs_are_always_the_same():
    (first, _), (again, _) = load("random_pairs"), load("random_pairs")
    assert first["x"].shape == (100, 1000) and first["y"].shape == (100, 10)
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert abs(first["x"].std() - 1) < 0.01 and abs(first["x"].mean()) < 0.01


@pytest.mark.parametrize("header", ["", "hours, sleep ,passed\n", "\ufeffhours,sleep,passed\r\n"])
def test_a_table_of_ones_own(tmp_path, header):
    file = tmp_path / "scores.csv"
    file.write_text(header + "1.5,2,0\n\n-3e1, 4,1\n", encoding="utf-8", newline="")
    train, meta = load(f"csv:{file}")
    assert train["x"].tolist() == [[1.5, 2], [-30, 4]] and train["y"].tolist() == [[0], [1]]
    assert meta["columns"] == (["hours", "sleep", "passed"] if header else ["1", "2", "3"])


@pytest.mark.parametrize("separator", [";", "\t", ","])
@pytest.mark.parametrize(
    ("labels", "classes", "numbers"),
    [
        (("yes", "no", "maybe", "no"), ["maybe", "no", "yes"], [2, 1, 0, 1]),
        (("2", "10", "1.0", "2"), ["1", "2", "10"], [1, 2, 0, 1]),
        (("-1", "1", "1", "-1"), ["-1", "1"], [0, 1, 1, 0]),
        (("1", "x", "1", "x"), ["1", "x"], [0, 1, 0, 1]),
    ],
)
def test_the_last_column_is_the_class(tmp_path, separator, labels, classes, numbers):
    file = tmp_path / "table.csv"
    rows = [("a", "b, c", "class"), *((str(n), f"{n}.5", label) for n, label in enumerate(labels))]
    file.write_text(
        "\n".join(separator.join(f'"{cell}"' if "," in cell else cell for cell in r) for r in rows)
    )
    train, meta = load(f"csv:{file}", "labelled")
    assert meta["classes"] == classes and train["y"].tolist() == numbers and train["y"].dtype == np.int32
    assert meta["features"] == ["a", "b, c"] and meta["targets"] == ["class"]
    assert train["x"].tolist() == [[n, n + 0.5] for n in range(4)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,a\n2,\n", "line 2, column 2: the class is missing"),
        ("1,0\n2,0.5\n", "line 2, column 2: 0.5 is no class, but a fraction"),
        ("1,0\n2,nan\n", "line 2, column 2: nan is no class"),
        ("x,y\nb,a\n", "line 2, column x: 'b' is not a finite number"),
        ("1;2\n1,5;3\n", "line 2, column 1: '1,5' is not a finite number"),
    ],
)
def test_a_class_that_cannot_be_read_says_where(tmp_path, text, message):
    file = tmp_path / "table.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        load(f"csv:{file}", "labelled")


def test_a_series_of_ones_own_is_the_last_column_of_numbers(tmp_path):
    file = tmp_path / "series.csv"
    file.write_text("month,passengers,note\n1949-01,112,a\n1949-02,118,b\n")
    train, meta = load(f"csv:{file}", kind="series")
    assert train["series"].tolist() == [112, 118] and meta["columns"] == ["passengers"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("a,b\n", "has no rows"),
        ("1,2\n3\n", "line 2 has 1 columns, and the first line has 2"),
        ("a,b\n1,2\n3,x\n", "line 3, column b: 'x' is not a finite number"),
        ("1,nan\n", "line 1, column 2: 'nan' is not a finite number"),
        ("1,\n", "line 1, column 2: '' is not a finite number"),
        ("1\n2\n", "has one column: a table needs"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(tmp_path, text, message):
    file = tmp_path / "scores.csv"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        load(f"csv:{file}")


def test_a_file_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="is not a file"):
        load(f"csv:{tmp_path}")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe1,2\n")
    with pytest.raises(ValueError, match="cannot be read"):
        load(f"csv:{tmp_path / 'x.csv'}")
    (tmp_path / "words.csv").write_text("day,word\n1x,b\n")
    with pytest.raises(ValueError, match="has no column of numbers"):
        load(f"csv:{tmp_path / 'words.csv'}", kind="series")
