"""The data set `folder:PATH`: the user's own images, and the errors for folders that cannot be read."""

import io
import json
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from train.data.feeds import make_feed
from train.data.images import fit_image, open_image
from train.data.load import load_data

pytestmark = pytest.mark.jax_only


def save(path, colour=(200, 100, 0), size=(12, 8), mode="RGB", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path, **options)


def load(root: Any, **options: Any) -> Any:
    return load_data(f"folder:{root}", root, kind="image", **options)


@pytest.fixture
def animals(tmp_path):
    """12 cats and 10 dogs; the red channel of an image is its number."""
    for name, count in (("dog", 10), ("cat", 12)):
        for number in range(count):
            save(tmp_path / name / f"{number:02}.png", colour=(number, 0, 255))
    return tmp_path


def test_every_tenth_file_of_a_class_is_to_test(animals):
    train, test, meta, *_ = load(animals)
    assert meta == {"classes": ["cat", "dog"]}
    seen = [[(int(e["image"][0, 0, 0]), int(e["label"])) for e in map(s.__getitem__, range(len(s)))]
            for s in (train, test)]  # fmt: skip
    assert seen[1] == [(9, 0), (9, 1)]
    assert sorted(seen[0] + seen[1]) == sorted([(n, 0) for n in range(12)] + [(n, 1) for n in range(10)])


def test_images_of_one_size_keep_it_and_others_need_one(animals):
    train = load(animals).train
    assert train.shape == (8, 12, 3) and train[0]["image"].shape == (8, 12, 3)
    assert train[0]["label"].dtype == np.int32 and train.nbytes == 20 * (8 * 12 * 3 + 4)
    save(animals / "cat" / "wide.png", size=(13, 8))
    with pytest.raises(ValueError, match="differ in size: give the size"):
        load(animals)
    assert load(animals, shape=(6, 6, 1)).train[3]["image"].shape == (6, 6, 1)


def test_folders_train_and_test_are_the_splits(tmp_path):
    for split, names in (("train", "abc"), ("test", "ac")):
        for name in names:
            save(tmp_path / split / name / "1.png")
    train, test, meta, *_ = load(tmp_path)
    assert meta == {"classes": ["a", "b", "c"]} and len(train) == 3
    assert [int(test[i]["label"]) for i in range(len(test))] == [0, 2]
    save(tmp_path / "test" / "d" / "1.png")
    with pytest.raises(ValueError, match=r"test has classes that are not in .*train: d"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["val", "valid", "validation"])
def test_the_test_split_may_be_called_validation(tmp_path, name):
    for split, count in (("train", 3), (name, 2)):
        for number in range(count):
            save(tmp_path / split / "a" / f"{number}.png")
    train, test, meta, *_ = load(tmp_path)
    assert (len(train), len(test)) == (3, 2) and meta == {"classes": ["a"]}
    save(tmp_path / "test" / "a" / "1.png")
    assert len(load(tmp_path).test) == 1


def test_a_class_of_few_images_has_no_test_split(tmp_path):
    save(tmp_path / "a" / "1.png")
    assert load(tmp_path).test is None


def test_a_folder_gives_batches(animals):
    feed = make_feed(load(animals, shape=(4, 4, 3)), batch_size=5, shuffle=False, seed=0, take=None)
    batch = feed.batch(feed.inputs(1, 1), 1)
    assert batch["image"].shape == (5, 4, 4, 3)
    assert np.asarray(batch["image"])[:, 0, 0, 0].tolist() == [5, 6, 7, 8, 10]  # 9 is in the test split


def test_a_source_can_be_pickled_for_worker_processes(animals):
    train = load(animals, shape=(4, 4, 3)).train
    again = pickle.loads(pickle.dumps(train))
    assert np.array_equal(again[7]["image"], train[7]["image"])


def test_hidden_files_and_notes_are_skipped(animals):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "notes.txt", "README.md", "labels.csv"):
        (animals / "cat" / name).write_text("not an image")
        (animals / name).write_text("not an image")
    (animals / ".cache").mkdir()
    (animals / "__MACOSX").mkdir()
    train, test, meta, *_ = load(animals)
    assert len(train) + len(test) == 22 and meta == {"classes": ["cat", "dog"]}


def test_broken_files_are_named_and_counted(animals):
    whole = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(whole, "JPEG")
    (animals / "cat" / "half.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    (animals / "dog" / "empty.png").touch()
    with pytest.raises(ValueError, match=r"2 of 24 files.*half\.jpg \(.*truncated.*empty\.png \(") as error:
        load(animals)
    assert "more" not in str(error.value) and "\n" not in str(error.value)
    for number in range(5):
        (animals / "dog" / f"x{number}.bin").write_bytes(b"not an image")
    with pytest.raises(ValueError, match=r"7 of 29 files.*x2\.bin.* and 2 more") as error:
        load(animals)
    assert "x3.bin" not in str(error.value) and "--skip-unreadable" in str(error.value)


def test_unreadable_files_and_empty_folders_are_left_out_if_asked(animals):
    (animals / "cat" / "00.png").write_bytes(b"not an image")
    (animals / "empty").mkdir()
    (animals / "broken").mkdir()
    (animals / "broken" / "1.png").touch()
    with pytest.raises(ValueError, match=r"there are no images in .*empty: --skip-unreadable"):
        load(animals)
    train, test, meta, *_ = load(animals, skip_unreadable=True)
    assert (len(train), len(test)) == (19, 2) and meta["classes"] == ["cat", "dog"]
    assert [Path(line.split(" (")[0]).name for line in meta["skipped"]] == ["empty", "1.png", "00.png"]
    assert json.loads(json.dumps(meta)) == meta
    for file in animals.glob("*/*.png"):
        file.write_bytes(b"")
    with pytest.raises(ValueError, match=r"23 of 23 files cannot be read") as error:
        load(animals, skip_unreadable=True)
    assert "--skip" not in str(error.value)


def test_images_of_sixteen_bits_are_refused_and_not_clipped(animals):
    Image.fromarray(np.full((8, 12), 40_000, np.uint16)).save(animals / "cat" / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png \(mode I;16 has more than 8 bits per channel\)"):
        load(animals)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "has no folders: .* in one folder per class"),
        (["1.png"], "has no folders"),
        (["a/1.png", "2.png"], r"2\.png is in no class"),
        (["a/1.png", "a/b/2.png"], "b is a folder in a class's folder"),
        (["train/a/1.png", "dev/a/2.png"], r"PATH/train/CLASS/ .*test may be called val, valid, validation"),
        (["a/1.png", "b/notes.txt"], "there are no images in .*b: --skip-unreadable trains without"),
        (["a/notes.txt", "b/notes.txt"], "there are no images in .*a, .*b: images are expected in"),
    ],
)
def test_a_folder_of_another_layout_says_what_is_expected(tmp_path, files, message):
    for name in files:
        path = tmp_path / name
        if path.suffix == ".png":
            save(path)
        else:
            path.parent.mkdir()
            path.touch()
    with pytest.raises(ValueError, match=message):
        load(tmp_path)


def test_a_path_that_is_no_folder(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        load(tmp_path / "nowhere")


def test_an_image_that_disappears_during_training_is_named(animals):
    feed = make_feed(load(animals), batch_size=2, shuffle=False, seed=0, take=None, streaming=True)
    (animals / "cat" / "01.png").unlink()
    with pytest.raises(ValueError, match=r"01\.png cannot be read"):
        feed.inputs(0, 1)
    feed.close()


def test_images_are_rotated_as_their_exif_data_says(tmp_path):
    left_half_dark = np.zeros((8, 12), np.uint8)
    left_half_dark[:, 6:] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise
    image = Image.fromarray(left_half_dark)
    (tmp_path / "a").mkdir()
    image.save(tmp_path / "a" / "1.jpg", exif=exif, quality=95)
    train = load(tmp_path).train
    assert train.shape == (12, 8, 1)
    turned = train[0]["image"][..., 0]
    assert turned[:5].max() < 30 and turned[7:].min() > 225


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK"])
def test_every_mode_becomes_grey_or_colour(tmp_path, mode):
    picture = Image.new("RGBA", (5, 4), (90, 90, 90, 255)).convert(mode)
    options: Any = {"transparency": bytes([0] * 256)} if mode == "P" else {}
    file = tmp_path / ("1.tif" if mode == "CMYK" else "1.png")
    picture.save(file, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        opened = open_image(str(file))
    assert opened.mode == ("L" if mode in ("1", "L", "LA") else "RGB") and opened.size == (5, 4)
    values = np.asarray(opened).astype(int)
    if mode == "1":  # the conversion to one bit has dithered the grey to black and white
        assert np.array_equal(values, 255 * np.asarray(picture)) and set(values.ravel()) == {0, 255}
    else:
        assert np.abs(values - 90).max() <= 3


def test_an_image_is_resized_to_cover_the_shape_or_cropped_without_resizing():
    columns = np.repeat(np.arange(40, dtype=np.uint8)[None, :] * 6, 20, axis=0)  # (20, 40), a gradient
    picture = Image.fromarray(columns)
    covered = fit_image(picture, (10, 10, 1))[..., 0]
    assert np.allclose(covered[5], np.arange(10) * 12 + 63, atol=1)  # the means of columns 10 to 29 in pairs
    cropped = fit_image(picture, (10, 10, 3), "crop")
    assert np.array_equal(cropped[..., 2], columns[5:15, 15:25])
    margin = fit_image(picture, (24, 44, 1), "crop")[..., 0]
    assert np.array_equal(margin, np.pad(columns, 2))
