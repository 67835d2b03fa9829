"""`digit_lines`: three to eight handwritten digits of `digits` in a line, in the arrays of `lines`.

The digits of the test lines are those of the test split of `digits`. Sizes, slants, gaps and heights on the
line are drawn from a fixed seed.
"""

import math

import numpy as np
from PIL import Image

from train.data.datasets import ReadRequest
from train.data.readers.digits import split_digits
from train.data.readers.kept import keep
from train.data.readers.sequences.lines import BLANK, HEIGHT, pack_lines
from train.data.sources import Data

COUNTS = {"train": 6_000, "test": 600}
DIGITS = (3, 8)  # the least and the most digits of a line
SIZES = (18, 26)  # pixels, the height of the digits of a line; each digit has 90 % to 100 % of it
SLANTS = (-0.3, 0.3)  # pixels to the right per pixel upwards; the slant of a line
GAPS = (1, 6)  # pixels between a digit and the next one
MARGINS = (2, 6)  # pixels before the first digit and after the last one
WIDTH = 192
MIN_INK = 32  # of 255; darker columns at the sides of a digit are cut off
VERSION = "1"


def digit_lines(request: ReadRequest) -> Data:
    """6,000 lines to train on, 600 to test on."""
    return keep(request.data_dir / "digit_lines" / f"{VERSION}.npz", _make)


def _make() -> Data:
    rng = np.random.default_rng(0)
    splits = {}
    for split, (images, digits) in split_digits().items():
        counts = rng.integers(*DIGITS, COUNTS[split], endpoint=True)
        rows = [rng.integers(len(digits), size=count) for count in counts]
        lines = [_draw_line(images[chosen].reshape(-1, 8, 8), rng) for chosen in rows]
        splits[split] = pack_lines(lines, [digits[chosen] + 1 for chosen in rows], WIDTH)
    return Data(splits["train"], splits["test"], {"symbols": [BLANK, *"0123456789"]})


def _draw_line(digits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A line (32, width) uint8 of digits (D, 8, 8) in 0..16. A line that is too wide is drawn again."""
    while True:
        size, slant = rng.uniform(*SIZES), rng.uniform(*SLANTS)
        inks = [_ink(one, size * rng.uniform(0.9, 1), slant + rng.normal(0, 0.04)) for one in digits]
        left, right = rng.integers(*MARGINS, 2, endpoint=True)
        gaps = rng.integers(*GAPS, len(digits) - 1, endpoint=True)
        starts = left + np.cumsum([0, *(ink.shape[1] + gap for ink, gap in zip(inks, gaps, strict=False))])
        width = starts[-1] + inks[-1].shape[1] + right
        if width <= WIDTH:
            break
    line = np.zeros((HEIGHT, width), np.uint8)
    lowest = rng.integers(round(size) + 1, HEIGHT, endpoint=True)
    for start, ink in zip(starts, inks, strict=True):
        top = lowest - len(ink) - rng.integers(2)
        line[top : top + ink.shape[0], start : start + ink.shape[1]] = ink
    return line


def _ink(digit: np.ndarray, height: float, slant: float) -> np.ndarray:
    """A digit (8, 8) in 0..16, enlarged, slanted and cut to its ink: (height, width) uint8."""
    side = round(height)
    square = Image.fromarray((digit * 255 / 16).astype(np.uint8)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    shift = abs(slant) * side / 2
    wide = side + 2 * math.ceil(shift)
    # AFFINE gives, for a pixel of the result, its place in the source.
    slanted = square.transform(
        (wide, side), Image.Transform.AFFINE,
        (1, slant, -math.ceil(shift) - slant * side / 2, 0, 1, 0), Image.Resampling.BICUBIC,
    )  # fmt: skip
    pixels = np.asarray(slanted)
    columns = np.flatnonzero(pixels.max(axis=0) > MIN_INK)
    return pixels[:, columns[0] : columns[-1] + 1]
