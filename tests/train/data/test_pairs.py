"""Unpaired images of two domains: the embedded sets, two folders of the user, and their batches."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from train.data.datasets import find_dataset
from train.data.feeds import make_feed
from train.data.load import load_data
from train.data.readers.digits_on_photos import LIGHTNESS
from train.data.sources import Data

pytestmark = pytest.mark.jax_only


def load(name: str, folder: Any, **options: Any) -> Any:
    return load_data(name, folder, kind="pair", **options)


def test_digits_and_photographs_are_two_domains(data_dir):
    train_split, test_split, meta, unaligned, _ = load("digits_to_photos", data_dir)
    assert meta == {"domains": ["digits", "digits_on_photos"]} and unaligned == {"b"}
    for split, count, distinct in ((train_split, 6000, 1500), (test_split, 1188, 297)):
        assert split["a"].shape == split["b"].shape == (count, 32, 32, 3) and split["a"].dtype == np.uint8
        assert np.array_equal(split["a"][:distinct], split["a"][distinct : 2 * distinct])  # they repeat
        assert not np.array_equal(split["b"][:distinct], split["b"][distinct : 2 * distinct])
    assert np.array_equal(train_split["a"][..., :1].repeat(3, -1), train_split["a"])
    larger = load("digits_to_photos", data_dir, shape=(40, 40, 3)).test
    assert larger["a"].shape == larger["b"].shape == (1188, 40, 40, 3)
    assert abs(larger["a"].mean() - test_split["a"].mean()) < 1  # the digits are enlarged too


def test_no_image_is_in_grey_and_in_colour(data_dir):
    train_split, test_split, meta, unaligned, _ = load("grey_to_colour", data_dir)
    assert meta == {"domains": ["grey", "colour"]} and unaligned == {"b"}
    assert train_split["a"].shape == train_split["b"].shape == (3000, 32, 32, 3)
    assert test_split["a"].shape == (594, 32, 32, 3) and test_split["a"].dtype == np.uint8
    for split in (train_split, test_split):
        grey, colour = split["a"], split["b"]
        assert (grey == grey[..., :1]).all() and (colour != colour[..., :1]).any(-1).mean() > 0.9
        lightness = {image.tobytes() for image in (colour @ LIGHTNESS).round().astype(np.uint8)}
        assert not lightness & {image[..., 0].tobytes() for image in grey}
        assert abs(grey.mean() - (colour @ LIGHTNESS).mean()) < 5


def test_two_photographs_are_two_domains(data_dir):
    train_split, test_split, meta, unaligned, _ = load("photo_patches", data_dir)
    assert meta == {"domains": ["china", "flower"]} and unaligned == {"b"}
    assert train_split["a"].shape == train_split["b"].shape == (1000, 32, 32, 3)
    assert test_split["a"].shape == (200, 32, 32, 3)
    assert abs(train_split["a"].mean((0, 1, 2)) - train_split["b"].mean((0, 1, 2))).max() > 20


def numbered(count=10):
    rows = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    return Data({"a": rows, "b": rows + 100}, None, {}, unaligned=frozenset({"b"}))


def test_every_epoch_has_new_pairs():
    feed: Any = make_feed(numbered(), batch_size=2, shuffle=True, seed=0)
    epochs = []
    for epoch in range(3):
        batches = [feed.batch(feed.inputs(step, 1), step) for step in range(5 * epoch, 5 * epoch + 5)]
        a, b = (np.concatenate([batch[name] for batch in batches]).ravel() for name in ("a", "b"))
        assert sorted(a) == list(range(10)) and sorted(b) == list(range(100, 110))
        assert not np.array_equal(a + 100, b)
        epochs.append(set(zip(a.tolist(), b.tolist(), strict=True)))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]


def test_aligned_arrays_keep_their_rows_together():
    data = numbered()._replace(unaligned=frozenset())
    feed: Any = make_feed(data, batch_size=5, shuffle=True, seed=0)
    for step in range(4):
        batch = feed.batch(feed.inputs(step, 1), step)
        assert np.array_equal(np.asarray(batch["a"]) + 100, batch["b"])


def test_two_domains_do_not_stream():
    with pytest.raises(ValueError, match="cannot be streamed"):
        make_feed(numbered(), batch_size=2, shuffle=True, seed=0, streaming=True)


def paint(path, value, size=(32, 32)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 0, 0)).save(path)


@pytest.fixture
def folders(tmp_path):
    """12 images of horses and 20 of zebras, of several sizes; the red channel of an image is its number."""
    for name, count in (("horses", 12), ("zebras", 20)):
        for number in range(count):
            paint(tmp_path / name / f"{number:02}.png", number, (32 + number % 3, 32))
    (tmp_path / "horses" / "notes.txt").write_text("not an image")
    return tmp_path


def load_folders(*names, shape=(32, 32, 3), **options):
    return load(f"folders:{','.join(map(str, names))}", "nowhere", shape=shape, **options)


def test_two_folders_are_two_domains(folders):
    train_split, test_split, meta, unaligned, _ = load_folders(folders / "horses", folders / "zebras")
    assert meta == {"domains": ["horses", "zebras"]} and unaligned == {"b"}
    assert train_split["a"].shape == train_split["b"].shape == (18, 32, 32, 3)
    horses = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11]
    assert train_split["a"][:, 0, 0, 0].tolist() == horses + horses[:7]
    assert train_split["b"][:, 0, 0, 0].tolist() == [n for n in range(20) if n % 10 != 9]
    assert test_split["a"][:, 0, 0, 0].tolist() == [9, 9]
    assert test_split["b"][:, 0, 0, 0].tolist() == [9, 19]


def test_folders_train_and_test_are_the_splits_and_few_images_have_no_test_split(tmp_path):
    for domain in ("a", "b"):
        paint(tmp_path / domain / "train" / "1.png", 1)
        paint(tmp_path / domain / ("test" if domain == "a" else "val") / "2.png", 2)
        paint(tmp_path / f"few_{domain}" / "3.png", 3)
    train_split, test_split, *_ = load_folders(tmp_path / "a", tmp_path / "b")
    assert [split["b"][0, 0, 0, 0] for split in (train_split, test_split)] == [1, 2]
    assert load_folders(tmp_path / "few_a", tmp_path / "few_b").test is None


def test_folders_that_cannot_be_read_say_why(folders):
    horses, zebras = folders / "horses", folders / "zebras"
    with pytest.raises(ValueError, match=r"two folders separated by one comma: folders:A,B, got"):
        load_folders(horses)
    with pytest.raises(ValueError, match="donkeys is not a folder"):
        load_folders(horses, folders / "donkeys")
    with pytest.raises(ValueError, match=r"is a folder: the images of a domain .* train/"):
        load_folders(horses, folders)
    (folders / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty has no images"):
        load_folders(horses, folders / "empty")
    with pytest.raises(ValueError, match=r"at 3200x3200 take 1,\d+,\d+,\d+ bytes.*smaller --image-size"):
        load_folders(horses, zebras, shape=(3200, 3200, 3))
    (zebras / "broken.png").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"1 of 33 files cannot be read .*broken\.png"):
        load_folders(horses, zebras)
    train, _, meta, *_ = load_folders(horses, zebras, skip_unreadable=True)
    assert len(train["b"]) == 18 and "broken.png" in meta["skipped"][0]
    for file in zebras.iterdir():
        file.write_bytes(b"")
    with pytest.raises(ValueError, match="zebras has no readable images to train on"):
        load_folders(horses, zebras, skip_unreadable=True)
    with pytest.raises(ValueError, match="folders needs its A,B: write folders:A,B"):
        find_dataset("folders")
