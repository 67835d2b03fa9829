"""The table of data sets, the embedded digits, and sets that tensorflow-datasets has prepared."""

import importlib
import io
import multiprocessing
import os
import signal
import socket
import sys
from typing import Any

import jax
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from train.data.datasets import DATASETS, KINDS, dataset_argument, find_dataset
from train.data.feeds import make_feed
from train.data.images import ImageSource
from train.data.load import load_data
from train.data.readers.digits import Digits

pytestmark = pytest.mark.jax_only


def load(name: str, folder: Any, **options: Any) -> Any:
    return load_data(name, folder, kind="image", **options)


@pytest.mark.parametrize("name", DATASETS)
def test_a_row_names_its_reader_and_what_it_holds(name):
    dataset = DATASETS[name]
    assert set(dataset.kinds) <= KINDS.keys() and dataset.about
    for home in (dataset.reader, dataset.builder if dataset.is_embedded else dataset.reader):
        module, attribute = home.split(":")
        assert callable(getattr(importlib.import_module(module), attribute))
    # The reader of records needs a builder. A set from the network names the embedded one that replaces it.
    assert bool(dataset.builder) == (dataset.reader == "train.data.readers.records:read_records")
    assert (dataset.embedded is not None) == (bool(dataset.builder) and not dataset.is_embedded)
    assert dataset.embedded is None or DATASETS[dataset.embedded].kind == dataset.kind
    assert dataset.embedded is None or DATASETS[dataset.embedded].is_embedded


def test_every_kind_of_data_has_a_set():
    assert {kind for dataset in DATASETS.values() for kind in dataset.kinds} == KINDS.keys()


def test_an_argument_is_written_after_the_name():
    assert find_dataset("folder:images/cats") is DATASETS["folder"]
    assert dataset_argument("folder:C:/images") == "C:/images"
    assert find_dataset("photos") is DATASETS["photos"] and dataset_argument("photos") == "64"
    assert find_dataset("photos:96").shape == (96, 96, 3) and dataset_argument("photos:96") == "96"
    assert dataset_argument("mnist") == ""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minst", "unknown dataset 'minst': did you mean mnist"),
        ("foldr:a", "unknown dataset 'foldr': did you mean folder"),
        ("folder", "folder needs its PATH: write folder:PATH, got 'folder'"),
        ("csv:", "csv needs its PATH: write csv:PATH, got 'csv:'"),
        ("digits:8", "digits takes no argument, got 'digits:8': write digits"),
        ("photos:", "photos needs its SIZE"),
        ("photos:201", "photos:SIZE takes a size from 8 to 200, got 'photos:201'"),
        ("photos:064", "from 8 to 200, got 'photos:064'"),
        ("photos:big", "from 8 to 200, got 'photos:big'"),
    ],
)
def test_an_unknown_name_or_argument_is_an_error_that_says_what_is_possible(name, message):
    with pytest.raises(ValueError, match=message):
        find_dataset(name)


def test_two_runs_may_prepare_a_set_at_once(tmp_path, monkeypatch):
    prepare: Any = Digits.download_and_prepare

    def prepare_second(builder: Any) -> None:
        prepare(Digits(data_dir=tmp_path, file_format="array_record"))
        raise OSError("Cannot rename: destination already exists")

    monkeypatch.setattr(Digits, "download_and_prepare", prepare_second)
    assert len(load("digits", tmp_path).train["image"]) == 1500


@pytest.mark.parametrize(("name", "kind"), [("digits", "table"), ("points", "image"), ("digits", "pair")])
def test_a_set_of_another_kind_is_an_error_that_names_the_suited_sets(tmp_path, name, kind):
    suited = ", ".join(other for other, dataset in DATASETS.items() if kind in dataset.kinds)
    held = KINDS[DATASETS[name].kind]
    with pytest.raises(ValueError, match=rf"^{name} holds {held}\W.*{KINDS[kind]}\W.*use {suited}$"):
        load_data(name, tmp_path, kind=kind)


def test_digits_are_scikit_learns(data_dir):
    train, test, meta, *_ = load("digits", data_dir)
    assert train["image"].shape == (1500, 28, 28, 1) and train["image"].dtype == np.uint8
    assert test["image"].shape == (297, 28, 28, 1) and test["label"].dtype == np.int32
    assert np.bincount(train["label"]).min() > 140 and set(test["label"]) == set(range(10))
    assert train["image"].max() == 255 and train["image"].min() == 0
    keys = {image.tobytes() for image in train["image"]}
    assert not keys & {image.tobytes() for image in test["image"]}
    assert meta == {"classes": list("0123456789")}
    assert "tensorflow" not in sys.modules


def test_digits_are_prepared_once(data_dir):
    first = load("digits", data_dir).test
    stamps = {file: file.stat().st_mtime_ns for file in data_dir.rglob("*") if file.is_file()}
    again = load("digits", data_dir).test
    assert stamps == {file: file.stat().st_mtime_ns for file in data_dir.rglob("*") if file.is_file()}
    assert all(np.array_equal(first[name], again[name]) for name in first)


def test_images_are_resized_or_padded_to_the_shape_of_the_model(data_dir):
    own = load("digits", data_dir).test["image"]
    padded = load("digits", data_dir, shape=(32, 32, 1), fit="crop").test["image"]
    assert np.array_equal(padded, np.pad(own, ((0, 0), (2, 2), (2, 2), (0, 0))))
    colour = load("digits", data_dir, shape=(14, 14, 3)).test["image"]
    assert colour.shape == (297, 14, 14, 3)
    assert np.array_equal(colour, np.repeat(colour[..., :1], 3, axis=-1))
    blocks = own.reshape(297, 14, 2, 14, 2).mean((2, 4))  # half the size
    assert np.abs(colour[..., 0] - blocks).mean() < 6
    with pytest.raises(ValueError, match="1 or 3 channels"):
        load("digits", data_dir, shape=(28, 28, 2))


class Mnist(tfds.core.GeneratorBasedBuilder):
    """The features of the upstream set with a few images, as TFDS prepares it."""

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
    arrays = load("mnist", tmp_path).train
    assert arrays["image"].shape == (30, 28, 28, 1)
    assert list(arrays["image"][:, 5, 5, 0]) == list(range(30))
    assert list(arrays["label"][:12]) == [*range(10), 0, 1]
    assert "tensorflow" not in sys.modules


class CatsVsDogs(tfds.core.GeneratorBasedBuilder):
    """The features of the upstream set: JPEG images of all sizes, some of them grey, in one split."""

    VERSION = tfds.core.Version("4.0.1")
    name = "cats_vs_dogs"

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(),
                "image/filename": tfds.features.Text(),
                "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, disable_shuffling=True)

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples()}

    def _generate_examples(self):
        for index in range(20):
            jpeg = io.BytesIO()
            mode, colour = ("L", 8 * index) if index % 5 == 0 else ("RGB", (8 * index, 0, 200))
            Image.new(mode, (30 + index, 50 - index), colour).save(jpeg, "JPEG", quality=95)
            jpeg.seek(0)
            yield index, {"image": jpeg, "image/filename": f"{index}.jpg", "label": index % 2}


@pytest.fixture(scope="module")
def cats_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cats")
    CatsVsDogs(data_dir=folder, file_format="array_record").download_and_prepare()
    return folder


def test_photographs_of_all_sizes_are_decoded_on_access(cats_dir):
    train, test, meta, *_ = load("cats_vs_dogs", cats_dir, shape=(24, 24, 3))
    assert (len(train), len(test)) == (18, 2) and meta == {"classes": ["cat", "dog"]}
    assert isinstance(train, ImageSource) and train.nbytes == 18 * (24 * 24 * 3 + 4)
    for index, example in enumerate([*(train[i] for i in range(18)), test[0], test[1]]):
        assert example["image"].shape == (24, 24, 3) and example["image"].dtype == np.uint8
        expected = [8 * index] * 3 if index % 5 == 0 else [8 * index, 0, 200]
        assert np.abs(example["image"].astype(int) - expected).max() <= 6  # JPEG is lossy
        assert example["label"] == index % 2
    grey = load("cats_vs_dogs", cats_dir, shape=(24, 24, 1)).train[5]["image"]
    assert grey.shape == (24, 24, 1) and abs(int(grey[0, 0, 0]) - 40) <= 2
    assert "tensorflow" not in sys.modules


def test_photographs_of_all_sizes_need_a_shape(cats_dir):
    with pytest.raises(ValueError, match="of cats_vs_dogs differ in size: give the size"):
        load("cats_vs_dogs", cats_dir)


@pytest.mark.parametrize("workers", [0, 2])
def test_streaming_that_starts_within_an_epoch_gives_the_same_batches(cats_dir, workers):
    """It starts at step 5 of epochs of four. Worker processes ignore Ctrl-C, which the loop handles."""
    source = load("cats_vs_dogs", cats_dir, shape=(8, 8, 3))
    options: Any = {"batch_size": 4, "shuffle": True, "seed": 3, "take": None, "streaming": True}
    whole, resumed = make_feed(source, **options), make_feed(source, **options, workers=workers)
    try:
        expected = [jax.device_get(whole.inputs(step, 1)) for step in range(9)]
        for step in range(5, 9):
            batch = jax.device_get(resumed.inputs(step, 1))
            children = multiprocessing.active_children()
            assert len(children) == workers
            for child in children:
                assert child.pid is not None
                os.kill(child.pid, signal.SIGINT)
            assert batch["image"].shape == (4, 8, 8, 3) and batch["label"].dtype == np.int32
            assert all(np.array_equal(batch[name], expected[step][name]) for name in batch)
    finally:
        whole.close()
        resumed.close()
    assert not multiprocessing.active_children()


def test_a_set_that_is_not_prepared_says_what_to_install_or_use(tmp_path):
    with pytest.raises(ValueError, match=r"flax-torch-twins\[tfds\].*--dataset digits"):
        load("mnist", tmp_path)


def test_a_download_that_fails_says_what_to_use(tmp_path, monkeypatch):
    def no_network(self, **_):
        raise OSError("Name or service not known")

    monkeypatch.setitem(sys.modules, "tensorflow", object())
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: [])
    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", no_network)
    with pytest.raises(ValueError, match=r"cannot download mnist.*not known.*--dataset digits"):
        load("mnist", tmp_path)


def test_a_missing_network_is_an_error_at_once(tmp_path, monkeypatch):
    def unresolved(*_):
        raise OSError("Name or service not known")

    monkeypatch.setitem(sys.modules, "tensorflow", object())
    monkeypatch.setattr(socket, "getaddrinfo", unresolved)
    with pytest.raises(ValueError, match=r"cannot download mnist.*no network.*--dataset digits"):
        load("mnist", tmp_path)
