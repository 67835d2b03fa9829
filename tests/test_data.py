"""Data sets: what they hold, how they are read, and batches as a function of (seed, step)."""

import io
import socket
import sys

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from train.data.load import load_split
from train.data.resident import gather, normalize, resident


def test_digits_are_scikit_learns(data_dir):
    train, test = (load_split("digits", split, data_dir) for split in ("train", "test"))
    assert train["image"].shape == (1500, 28, 28, 1) and train["image"].dtype == np.uint8
    assert test["image"].shape == (297, 28, 28, 1)
    assert np.bincount(train["label"]).min() > 140 and set(test["label"]) == set(range(10))
    assert train["image"].max() == 255 and train["image"].min() == 0
    keys = {image.tobytes() for image in train["image"]}
    assert not keys & {image.tobytes() for image in test["image"]}
    assert "tensorflow" not in sys.modules


def test_digits_are_prepared_once(data_dir):
    first = load_split("digits", "test", data_dir)
    stamps = {file: file.stat().st_mtime_ns for file in data_dir.rglob("*") if file.is_file()}
    again = load_split("digits", "test", data_dir)
    assert stamps == {file: file.stat().st_mtime_ns for file in data_dir.rglob("*") if file.is_file()}
    assert all(np.array_equal(first[name], again[name]) for name in first)


class Mnist(tfds.core.GeneratorBasedBuilder):
    """The upstream set's features, over a few pictures, as TFDS would have prepared it."""

    VERSION = tfds.core.Version("3.0.1")
    name = "mnist"

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(28, 28, 1)),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(30), "test": self._generate_examples(10)}

    def _generate_examples(self, count):
        for index in range(count):
            png = io.BytesIO()
            Image.fromarray(np.full((28, 28), index, np.uint8)).save(png, "PNG")
            png.seek(0)
            yield index, {"image": png, "label": index % 10}


def test_a_prepared_upstream_set_is_read_without_tensorflow(tmp_path):
    Mnist(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    arrays = load_split("mnist", "train", tmp_path)
    assert arrays["image"].shape == (30, 28, 28, 1)
    assert list(arrays["image"][:, 5, 5, 0]) == list(range(30))
    assert list(arrays["label"][:12]) == [*range(10), 0, 1]
    assert "tensorflow" not in sys.modules


def test_an_unprepared_set_says_what_to_install_or_use(tmp_path):
    with pytest.raises(ValueError, match=r"flax-torch-twins\[tfds\].*--dataset digits"):
        load_split("mnist", "train", tmp_path)


def test_a_download_that_fails_says_what_to_use(tmp_path, monkeypatch):
    def no_network(self, **_):
        raise OSError("Name or service not known")

    monkeypatch.setitem(sys.modules, "tensorflow", object())
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(ValueError, match=r"cannot download mnist.*not known.*--dataset digits"):
        load_split("mnist", "train", tmp_path)


def test_a_missing_network_is_said_at_once(tmp_path, monkeypatch):
    def unresolved(*_):
        raise OSError("Name or service not known")

    monkeypatch.setitem(sys.modules, "tensorflow", object())
    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    with pytest.raises(ValueError, match=r"cannot download mnist.*no network.*--dataset digits"):
        load_split("mnist", "train", tmp_path)


def rows(size=10, **options):
    data = resident({"x": np.arange(size)}, **{"batch_size": 3, "shuffle": True, "seed": 0, **options})
    return [np.asarray(gather(data.arrays, data.order_at(step), step % 3 * 3, 3)["x"]) for step in range(9)]


def test_batches_follow_from_seed_and_step_alone():
    assert all(np.array_equal(a, b) for a, b in zip(rows(), rows(), strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(rows(), rows(seed=1), strict=True))


def test_an_epoch_sees_every_row_at_most_once_and_each_in_its_own_order():
    epochs = [np.concatenate(rows()[first : first + 3]) for first in (0, 3, 6)]
    assert all(len(set(epoch)) == 9 for epoch in epochs)
    assert not np.array_equal(epochs[0], epochs[1])


def test_without_shuffling_rows_come_in_order():
    assert np.array_equal(np.concatenate(rows(shuffle=False)[:3]), np.arange(9))


@pytest.mark.parametrize("batch_size", [0, 11])
def test_a_batch_must_fit(batch_size):
    with pytest.raises(ValueError, match=f"from 1 to the data set's 10 examples, got {batch_size}"):
        rows(batch_size=batch_size)


def test_pictures_are_normalised_to_one():
    images = jax.numpy.asarray([0, 255], "uint8")
    assert np.allclose(normalize(images), [-1, 1])
    assert normalize(np.float64(0.3)) == 0.3
