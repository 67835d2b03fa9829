"""Lines of symbols: the digits in a line, and a folder of one's own."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from train.data.load import load_data
from train.data.readers.sequences import digit_lines
from train.data.readers.sequences.lines import decode_symbols, encode_line, line_of

pytestmark = pytest.mark.jax_only


def load(name: str, folder: Any, **options: Any) -> Any:
    return load_data(name, folder, kind="lines", **options)


def test_digit_lines_are_digits_in_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(digit_lines, "COUNTS", {"train": 600, "test": 60})
    train, test, meta, *_ = load("digit_lines", tmp_path)
    assert meta == {"symbols": ["<blank>", *"0123456789"]}
    for split, count in ((train, 600), (test, 60)):
        assert split["image"].shape == (count, 32, 192, 1) and split["image"].dtype == np.uint8
        assert split["label"].shape == (count, 8) and split["label"].dtype == np.int32
        assert set(split["length"]) == set(range(3, 9)) and split["width"].max() <= 192
        within = np.arange(8) < split["length"][:, None]
        assert np.array_equal(split["label"] > 0, within) and split["label"].max() == 10
        columns = split["image"].max(axis=(1, 3))  # (N, W)
        beyond = np.arange(192) >= split["width"][:, None]
        assert columns[beyond].max() == 0
        inked = (columns > 32).sum(1)
        assert (inked >= 4 * split["length"]).all()  # every digit has some width
    assert decode_symbols(train["label"][0], meta["symbols"]).isdigit()
    assert len(np.unique(train["width"])) > 80


def write_line(path: Any, text: str, size: tuple[int, int], ink: int = 0, paper: int = 255) -> None:
    image = Image.new("L", size, paper)
    ImageDraw.Draw(image).text((4, 4), text, fill=ink)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)


@pytest.fixture
def folder(tmp_path):
    """Twelve lines of dark text on light paper, 20 pixels high, with their texts."""
    rows = ["file,text"]
    for number in range(12):
        write_line(tmp_path / "words" / f"{number:02}.png", f"no {number}", (60 + number, 20))
        rows.append(f'words/{number:02}.png,"no {number}"')
    (tmp_path / "labels.csv").write_text("\n".join(rows))
    return tmp_path


def test_lines_of_ones_own_are_light_on_dark(folder):
    train, test, meta, *_ = load(f"lines:{folder}", folder)
    assert meta == {"symbols": ["<blank>", *sorted(set("no 0123456789"))]}
    assert train["image"].shape == (11, 32, round(71 * 1.6), 1) and len(test["image"]) == 1
    assert train["width"].tolist() == [round((60 + n) * 1.6) for n in (*range(9), 10, 11)]
    assert decode_symbols(train["label"][-1], meta["symbols"]) == "no 11"
    assert decode_symbols(test["label"][0], meta["symbols"]) == "no 9"
    assert train["length"].tolist() == [4] * 9 + [5] * 2
    assert np.median(train["image"]) == 0 and train["image"].max() > 200
    assert train["image"][0, :, train["width"][0] :].max() == 0  # the padding is the background


def test_an_image_to_read_is_prepared_as_in_training(folder):
    with Image.open(folder / "words" / "00.png") as image:
        question = encode_line(image)
    train = load(f"lines:{folder}", folder).train
    width = int(question["width"][0])
    assert question["image"].shape == (1, 32, width, 1) and width == train["width"][0]
    assert np.array_equal(question["image"][0], train["image"][0, :, :width])
    light = Image.new("L", (10, 64), 30)
    assert np.array_equal(np.unique(line_of(light)), [30]) and line_of(light).shape == (32, 5)


def test_unreadable_lines_are_skipped_if_asked(folder):
    (folder / "words" / "03.png").write_bytes(b"no image")
    (folder / "words" / "04.png").unlink()
    with pytest.raises(ValueError, match=r"2 of 12 files cannot be read .*03\.png .*--skip-unreadable"):
        load(f"lines:{folder}", folder)
    train, _, meta, *_ = load(f"lines:{folder}", folder, skip_unreadable=True)
    assert len(train["image"]) == 9 and [line.split(" ")[0][-6:] for line in meta["skipped"]] == [
        "03.png",
        "04.png",
    ]
    assert json.loads(json.dumps(meta)) == meta


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"labels\.csv is not a file"),
        ("", "has no rows"),
        ("file,text\n", "lists no images: two columns are expected, file,text"),
        ("a.png\n", "lists no images: two columns"),
        ("a.png,1\nb.png,\n", "line 2 has no text"),
        (",1\n", "line 1 has no file"),
        ("a.png,1,2\nb.png,1\n", "line 2 has 2 columns, and the first line has 3"),
        ("a.png;no\nwide.png;yes\n", "padded to the widest, take 38,400 bytes.* leave out the widest"),
    ],
)
def test_a_listing_that_cannot_be_read_says_where(text, message, tmp_path, monkeypatch):
    write_line(tmp_path / "a.png", "x", (20, 20))
    write_line(tmp_path / "wide.png", "x", (300, 16))
    monkeypatch.setattr("train.data.sources.IN_MEMORY_LIMIT", 32 * 1000)
    if text is not None:
        (tmp_path / "labels.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        load(f"lines:{tmp_path}", tmp_path)
    assert "\n" not in str(error.value)


def test_a_folder_of_lines_that_is_none(tmp_path):
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        load(f"lines:{tmp_path / 'nowhere'}", tmp_path)
