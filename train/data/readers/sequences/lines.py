"""Images of a line of symbols each, 32 pixels high and of different widths.

    image   (N, 32, W, 1) uint8   light symbols on a dark background, which also pads them on the right
    width   (N,) int32            the width before the padding
    label   (N, L) int32          the symbols, indices into meta["symbols"], padded with 0
    length  (N,) int32            the number of symbols

meta["symbols"][0] is BLANK, the blank of a CTC loss.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from train.data.datasets import ReadRequest
from train.data.images import open_image
from train.data.readers.sequences.listing import Listed, read_listing
from train.data.sources import Arrays, Data, check_memory

HEIGHT = 32
BLANK = "<blank>"


def read_lines(request: ReadRequest) -> Data:
    """`lines:FOLDER`: the user's own images, with their texts in FOLDER/labels.csv: file,text.

    Every tenth line of labels.csv is for testing. The symbols are the characters of all texts. `line_of`
    resizes the images.
    Errors: ValueError for a listing or an image that cannot be read, and for images that do not fit into
    memory when all are padded to the widest.
    """
    train, test, skipped = read_listing(Path(request.argument), "labels.csv", "text", request.skip_unreadable)
    every = [*train, *test]
    symbols = [BLANK, *sorted({character for one in every for character in one.text})]
    indices = {symbol: number for number, symbol in enumerate(symbols)}
    widths = [_width_of(one.file) for one in every]
    nbytes = len(every) * HEIGHT * max(widths)
    check_memory(nbytes, f"the images of {request.name}, padded to the widest,", "leave out the widest ones")

    def pack(some: Sequence[Listed]) -> Arrays:
        lines = [line_of(open_image(str(one.file))) for one in some]
        return pack_lines(
            lines, [[indices[character] for character in one.text] for one in some], max(widths)
        )

    meta = {"symbols": symbols, **({"skipped": skipped} if skipped else {})}
    return Data(pack(train), pack(test) if test else None, meta)


def _width_of(file: Path) -> int:
    """The width of the line in an image file."""
    with Image.open(file) as image:
        return _scaled_width(ImageOps.exif_transpose(image))


def _scaled_width(image: Image.Image) -> int:
    return max(1, round(image.width * HEIGHT / image.height))


def line_of(image: Image.Image) -> np.ndarray:
    """An image of a line as (32, width) uint8, resized to this height, light on dark.

    The background is the median of the border. If it is nearer to white than to black, the image is inverted.
    """
    grey = image.convert("L").resize((_scaled_width(image), HEIGHT), Image.Resampling.BICUBIC)
    return np.asarray(ImageOps.invert(grey) if _background(np.asarray(grey)) > 127 else grey)


def _background(line: np.ndarray) -> int:
    """The median of the border of a line (32, width)."""
    return int(np.median(np.concatenate([line[0], line[-1], line[:, 0], line[:, -1]])))


def pack_lines(
    lines: Sequence[np.ndarray], labels: Sequence[Sequence[int] | np.ndarray], width: int
) -> Arrays:
    """The arrays of lines (32, width_n) uint8 and their labels. width: W; the labels have the longest's L."""
    image = np.zeros((len(lines), HEIGHT, width, 1), np.uint8)
    label = np.zeros((len(lines), max(map(len, labels))), np.int32)
    for row, (line, symbols) in enumerate(zip(lines, labels, strict=True)):
        image[row] = _background(line)
        image[row, :, : line.shape[1], 0] = line
        label[row, : len(symbols)] = symbols
    return {
        "image": image,
        "width": np.array([line.shape[1] for line in lines], np.int32),
        "label": label,
        "length": np.array([len(symbols) for symbols in labels], np.int32),
    }


def encode_line(image: Image.Image) -> Arrays:
    """{"image": (1, 32, W, 1) uint8, "width": (1,) int32} of a user's image of a line."""
    line = line_of(image)
    return {"image": line[None, :, :, None], "width": np.array([line.shape[1]], np.int32)}


def decode_symbols(labels: Sequence[int], symbols: Sequence[str]) -> str:
    """The text of the labels, without blanks and padding."""
    return "".join(symbols[int(label)] for label in labels if label)
