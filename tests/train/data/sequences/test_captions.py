"""Images with captions: the digits on photographs, and a folder of one's own."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from train.data.load import load_data
from train.data.readers.digits import split_digits
from train.data.readers.photos import regions
from train.data.readers.sequences import captions
from train.data.readers.sequences.vocabulary import decode_tokens

pytestmark = pytest.mark.jax_only


def load(name: str, folder: Any, **options: Any) -> Any:
    return load_data(name, folder, kind="captions", **options)


def texts_of(split: Any, meta: Any) -> list[str]:
    return [decode_tokens(row, meta["vocabulary"], " ") for row in split["caption"]]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """The set with fewer images; the digits and the photographs are the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(captions, "COUNTS", {"train": 400, "test": 80})
        return load("captions", tmp_path_factory.mktemp("data"))


def test_a_caption_names_the_digits_their_colours_and_their_places(few):
    train, test, meta, *_ = few
    assert train["image"].shape == (400, 64, 64, 3) and train["image"].dtype == np.uint8
    assert test["caption"].dtype == np.int32 and train["caption"].shape[1] == test["caption"].shape[1] == 20
    assert meta["vocabulary"][:4] == ["<pad>", "<start>", "<end>", "<unknown>"]
    assert len(set(meta["vocabulary"])) == len(meta["vocabulary"]) == 31
    for split in (train, test):
        for image, text in zip(split["image"], texts_of(split, meta), strict=True):
            body, _, photo = text.rpartition(" on a ")
            assert photo in captions.PHOTOS
            digits = [part.split() for part in body.split(" and ")]
            places = [captions.PLACES.index(" ".join(words[5:])) for words in digits]
            assert 1 <= len(digits) <= 2 and places == sorted(set(places))
            for (_, colour, number, *_), place in zip(digits, places, strict=True):
                assert number in captions.NUMBERS
                top, left = 32 * (place // 2), 32 * (place % 2)
                quarter = image[top : top + 32, left : left + 32].reshape(-1, 3).astype(int)
                assert (np.abs(quarter - captions.COLOURS[colour]).max(1) <= 30).sum() >= 8, text


def test_every_digit_word_colour_and_place_occurs(few):
    words = {word for text in texts_of(few.train, few.meta) for word in text.split()}
    assert {*captions.NUMBERS, *captions.COLOURS, *captions.PHOTOS, "top", "bottom", "left", "right"} <= words


def test_the_splits_share_neither_digits_nor_regions(tmp_path, monkeypatch):
    """With black training regions and white test regions, every pixel that is no digit tells its split."""
    shapes = {split: [region.shape for region in regions(split)] for split in ("train", "test")}
    shades = {"train": 0, "test": 255}
    digits = {
        split: (rows, np.full(len(rows), split == "test", int)) for split, (rows, _) in split_digits().items()
    }
    monkeypatch.setattr(captions, "COUNTS", {"train": 6, "test": 6})
    monkeypatch.setattr(captions, "split_digits", lambda: digits)
    monkeypatch.setattr(
        captions,
        "regions",
        lambda split: [np.full(shape, shades[split], np.uint8) for shape in shapes[split]],
    )
    train, test, meta, *_ = load("captions", tmp_path)
    assert (np.median(train["image"]), np.median(test["image"])) == (0, 255)
    assert all("zero" in text and "one" not in text.split() for text in texts_of(train, meta))
    assert "zero" not in " ".join(texts_of(test, meta))


def test_captions_are_made_once_and_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(captions, "COUNTS", {"train": 20, "test": 4})
    first = load("captions", tmp_path)
    monkeypatch.setattr(captions, "_make", lambda: pytest.fail("it is made again"))
    again = load("captions", tmp_path, shape=(32, 32, 3))
    assert again.train["image"].shape == (20, 32, 32, 3)
    assert np.array_equal(again.test["caption"], first.test["caption"])


@pytest.fixture
def folder(tmp_path):
    rows = []
    for number in range(11):
        Image.new("RGB", (40 + number, 30), (number, 0, 0)).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png;A  Dog, number {number}")
    (tmp_path / "captions.csv").write_text("file;caption\n" + "\n".join(rows))
    return tmp_path


def test_captions_of_ones_own(folder):
    train, test, meta, *_ = load(f"captions:{folder}", folder)
    assert train["image"].shape == (10, 64, 64, 3) and train["image"][:, 0, 0, 0].tolist() == [*range(9), 10]
    assert texts_of(train, meta)[-1] == "a dog, number 10" and texts_of(test, meta) == ["a dog, number ?"]
    assert load(f"captions:{folder}", folder, shape=(20, 20, 3)).test["image"].shape == (1, 20, 20, 3)


def test_captions_that_cannot_be_read_say_why(folder, monkeypatch):
    (folder / "3.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"1 of 11 files cannot be read .*3\.png .*--skip-unreadable"):
        load(f"captions:{folder}", folder)
    assert len(load(f"captions:{folder}", folder, skip_unreadable=True).train["image"]) == 9
    monkeypatch.setattr("train.data.sources.IN_MEMORY_LIMIT", 1000)
    with pytest.raises(ValueError, match=r"take 122,880 bytes.*give a smaller --image-size"):
        load(f"captions:{folder}", folder, skip_unreadable=True)
    with pytest.raises(ValueError, match="captions needs its FOLDER: write captions:FOLDER"):
        load("captions:", folder)
    (folder / "captions.csv").unlink()
    with pytest.raises(ValueError, match=r"captions\.csv is not a file"):
        load(f"captions:{folder}", folder)
