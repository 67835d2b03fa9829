"""The embedded sets that are made of scikit-learn's photographs."""

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from train.data.load import load_data
from train.data.readers.digits import split_digits
from train.data.readers.digits_on_photos import alpha_mask, blend
from train.data.readers.photos import TEST_ROW, draw_patches, regions

pytestmark = pytest.mark.jax_only


@pytest.fixture(scope="module")
def photos(data_dir) -> Any:
    return load_data("photos:16", data_dir, kind="image")


def test_photos_are_balanced_patches_of_two_photographs(photos):
    for split, count in ((photos.train, 2000), (photos.test, 400)):
        assert split["image"].shape == (count, 16, 16, 3) and split["image"].dtype == np.uint8
        assert np.bincount(split["label"]).tolist() == [count // 2] * 2
    assert photos.meta == {"classes": ["china", "flower"]}


def test_the_splits_share_no_pixel():
    for whole, train, test in zip(
        load_sample_images().images, regions("train"), regions("test"), strict=True
    ):
        assert np.array_equal(np.concatenate([train, test]), whole)
        assert train.shape == (TEST_ROW, 640, 3) and test.shape[0] >= 200  # the largest patch fits


def test_a_patch_lies_in_its_own_photograph_and_region(photos):
    """Found again by its upper left corner, in the photograph of its label and in no other place."""
    for split in ("train", "test"):
        data, whole = getattr(photos, split), regions(split)
        for index in range(0, len(data["label"]), 97):
            patch, region = data["image"][index], whole[data["label"][index]]
            corners = np.argwhere((region[:-15, :-15] == patch[0, 0]).all(-1))
            assert any(np.array_equal(region[y : y + 16, x : x + 16], patch) for y, x in corners)


def test_no_place_is_taken_twice():
    region = np.arange(20 * 30 * 3).reshape(20, 30, 3)
    drawn = list(draw_patches(region, 8, 13 * 23, np.random.default_rng(0)))
    assert len({patch[0, 0, 0] for patch in drawn}) == 13 * 23


@pytest.fixture(scope="module")
def digits_on_photos(data_dir) -> Any:
    return load_data("digits_on_photos", data_dir, kind="image")


def test_digits_on_photos_are_the_digits_four_times(digits_on_photos):
    for split, count in (("train", 1500), ("test", 297)):
        data = getattr(digits_on_photos, split)
        assert data["image"].shape == (4 * count, 32, 32, 3) and data["image"].dtype == np.uint8
        assert np.array_equal(data["label"], np.tile(split_digits()[split][1], 4))
        assert len({image.tobytes() for image in data["image"]}) == 4 * count


def test_digits_stand_out_from_the_photographs(digits_on_photos):
    """Outside of a digit the patch is unchanged; inside, nearly all pixels differ in lightness."""
    images, _ = split_digits()["train"]
    drawn = draw_patches(regions("train")[0], 32, 200, np.random.default_rng(7))
    rng, fractions = np.random.default_rng(8), []
    for digit, patch in zip(images, drawn, strict=False):
        cover = alpha_mask(digit)
        image = blend(cover, patch, rng)
        assert np.array_equal(image[cover[..., 0] == 0], patch[cover[..., 0] == 0])
        full = cover[..., 0] > 0.9
        lightness = [array[full] @ [0.299, 0.587, 0.114] for array in (image, patch)]
        fractions.append((np.abs(lightness[0] - lightness[1]) > 60).mean())
    assert np.mean(fractions) > 0.85 and np.quantile(fractions, 0.02) > 0.5


def test_a_digit_is_readable_from_its_lightness_alone(digits_on_photos):
    """A digit is darker or lighter than its patch, so the correlation with its alpha mask counts unsigned."""
    data = digits_on_photos.test
    images, _ = split_digits()["test"]
    scores = []
    for index in range(200):
        grey = data["image"][index] @ [0.299, 0.587, 0.114]
        cover = alpha_mask(images[index])[..., 0]
        scores.append(abs(np.corrcoef(grey.ravel(), cover.ravel())[0, 1]))
    assert np.median(scores) > 0.6
