"""Preprocessing, fitted on the training split alone, against known results."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from train.data.preprocess import PREPROCESSING, preprocess

pytestmark = pytest.mark.jax_only


def columns(count, seed=0):
    """Five correlated columns with different means and scales."""
    values = np.random.default_rng(seed).normal(size=(count, 5))
    return values @ np.random.default_rng(9).normal(size=(5, 5)) * [1, 10, 0.1, 3, 50] + [5, -20, 0, 1, 300]


TRAIN, TEST = columns(200), columns(50, seed=1)


def test_center():
    train, test, _ = preprocess(["center"], TRAIN, TEST)
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(test, TEST - TRAIN.mean(0), atol=1e-12)


def test_scale():
    train, test, _ = preprocess(["scale"], TRAIN, TEST)
    np.testing.assert_allclose([train.min(0), train.max(0)], [[-1] * 5, [1] * 5], atol=1e-12)
    low, high = TRAIN.min(0), TRAIN.max(0)
    np.testing.assert_allclose(test, 2 * (TEST - low) / (high - low) - 1, atol=1e-12)


def test_standardize():
    train, test, fitted = preprocess(["standardize"], TRAIN, TEST)
    np.testing.assert_allclose([train.mean(0), train.std(0)], [[0] * 5, [1] * 5], atol=1e-12)
    np.testing.assert_allclose(test, (TEST - TRAIN.mean(0)) / TRAIN.std(0), atol=1e-12)
    np.testing.assert_array_equal(fitted.transform(TEST), test)


def test_pca_keeps_the_directions_of_most_variance():
    train, test, fitted = preprocess(["pca:2"], TRAIN, TEST)
    pca: Any = fitted[-1]
    assert train.shape == (200, 2) and test.shape == (50, 2)
    largest = np.linalg.eigvalsh(np.cov(TRAIN.T))[::-1][:2]
    np.testing.assert_allclose(np.cov(train.T), np.diag(largest), atol=1e-9 * largest[0])
    np.testing.assert_allclose(test, (TEST - TRAIN.mean(0)) @ pca.components_.T, atol=1e-10)


@pytest.mark.parametrize("name, kept", [("whiten", 5), ("whiten:3", 3)])
def test_whitened_data_has_the_identity_as_covariance(name, kept):
    train, test, _ = preprocess([name], TRAIN, TEST)
    np.testing.assert_allclose(np.cov(train.T), np.eye(kept), atol=1e-9)
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-9)
    assert test.shape == (50, kept) and abs(np.cov(test.T) - np.eye(kept)).max() > 1e-3


def test_names_apply_in_order():
    both = preprocess(["standardize", "pca:3"], TRAIN, TEST)[0]
    standardized = preprocess(["standardize"], TRAIN, TEST)[:2]
    np.testing.assert_allclose(both, preprocess(["pca:3"], *standardized)[0], atol=1e-12)
    assert not np.allclose(np.abs(both), np.abs(preprocess(["pca:3"], TRAIN, TEST)[0]))
    np.testing.assert_array_equal(preprocess([], TRAIN, TEST)[0], TRAIN)


def test_constant_columns():
    train = np.stack([np.arange(4.0), np.full(4, 7.0)], 1)
    expected = {"center": 0, "standardize": 0, "scale": -1}
    for name, value in expected.items():
        assert (preprocess([name], train, train)[0][:, 1] == value).all()
    assert preprocess(["whiten:1"], train, train)[0].std(ddof=1) == pytest.approx(1)
    with pytest.raises(ValueError, match="varies in 1 directions, not in 2: write whiten:1"):
        preprocess(["whiten"], train, train)
    with pytest.raises(ValueError, match=r"varies in 0 directions.*cannot be whitened"):
        preprocess(["whiten"], np.ones((4, 2)), np.ones((4, 2)))


def test_rounding_noise_is_not_whitened():
    """Three of the 64 pixels of the digits are always 0."""
    digits, _ = load_digits(return_X_y=True)
    with pytest.raises(ValueError, match="varies in 61 directions, not in 64: write whiten:61"):
        preprocess(["whiten"], digits, digits)
    np.testing.assert_allclose(np.cov(preprocess(["whiten:61"], digits, digits)[0].T), np.eye(61), atol=1e-9)


def test_images_keep_their_shape():
    images = np.random.default_rng(0).integers(0, 256, (30, 3, 2, 2)).astype(np.uint8)
    train, test, _ = preprocess(["standardize"], images, images[:5])
    assert train.shape == images.shape and test.shape == (5, 3, 2, 2) and train.dtype == np.float32
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-6)
    np.testing.assert_array_equal(test, train[:5])
    assert preprocess(["pca:4"], images, images[:5])[0].shape == (30, 4)


@pytest.mark.parametrize("given, made", [("float32", "float32"), ("float64", "float64"), ("int64", "float64"),
                                         ("float16", "float32"), ("bool", "float32")])  # fmt: skip
def test_dtypes(given, made):
    data = (TRAIN > 0).astype(given)
    assert all(split.dtype == made for split in preprocess(["center"], data, data)[:2])


@pytest.mark.parametrize("names, train, test, message", [
    (["standardise"], TRAIN, TEST, "unknown preprocessing 'standardise': did you mean standardize"),
    (["center:2"], TRAIN, TEST, "1 argument; write center"),
    (["pca:0"], TRAIN, TEST, r"'0' is not an integer of at least 1; write pca\[:K\]"),
    (["center", "pca:6"], TRAIN, TEST, "cannot preprocess by center, pca:6: n_components=6 must be between"),
    (["center"], TRAIN * np.nan, TEST, "contains NaN"),
    (["center"], TRAIN, TEST + np.inf, "contains infinity"),
    (["pca"], TRAIN[:1], TEST, "1 sample"), (["center"], TRAIN, TEST[:0], "0 sample"),
    (["center"], TRAIN, TEST[:, :4], r"got \(200, 5\) and \(50, 4\)"),
    (["center"], TRAIN[:, 0], TEST[:, 0], r"two arrays \(N, \.\.\.\)"),
    (["center"], np.array([["a"], ["b"]]), np.array([["a"]]), "could not convert string"),
])  # fmt: skip
def test_data_and_names_that_do_not_suit_are_an_error_of_one_line(names, train, test, message):
    with pytest.raises(ValueError, match=message) as error:
        preprocess(names, train, test)
    assert "\n" not in str(error.value)


def test_every_name_says_what_it_does():
    assert all(kind.syntax.startswith(name) and kind.about for name, kind in PREPROCESSING.items())
