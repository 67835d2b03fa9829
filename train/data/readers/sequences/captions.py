"""`captions`: 64x64 images of one or two handwritten digits on a patch of a photograph, each with a caption.

    image    (N, 64, 64, 3) uint8
    caption  (N, T) int32           the words, as a target of `vocabulary`

The image determines its caption, such as "a red three at the top left and a blue one at the bottom right on
a flower": the digits in reading order, then the photograph. The digits and their split are those of
`digits`, the photographs and their regions those of `photos`.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from train.data.datasets import ReadRequest
from train.data.images import read_images
from train.data.readers.digits import split_digits
from train.data.readers.kept import keep
from train.data.readers.photos import draw_patches, regions
from train.data.readers.sequences.listing import read_listing
from train.data.readers.sequences.vocabulary import encode_targets, vocabulary_of
from train.data.sources import Arrays, Data, check_memory

COUNTS = {"train": 8_000, "test": 800}
SIZE, QUARTER, DIGIT = 64, 32, 24  # pixels per side of an image, of its quarters, and of a digit
PATCH = 96  # pixels per side of the part of a photograph that is resized to an image
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = {
    "red": (225, 25, 30), "green": (20, 170, 45), "blue": (30, 60, 230), "yellow": (250, 225, 30),
    "white": (250, 250, 250), "black": (8, 8, 8),
}  # fmt: skip
PLACES = ("top left", "top right", "bottom left", "bottom right")  # the quarters, in reading order
PHOTOS = ("temple", "flower")
# A pixel of a digit is visible if its colour and that of the patch are at least this far apart in RGB. A
# digit gets only a colour in which at least the fraction MIN_AREA of its area is visible.
MIN_DISTANCE, MIN_AREA = 110, 0.9
VERSION = "1"


def captions(request: ReadRequest) -> Data:
    """`captions`: 8,000 images to train on, 800 to test on. `captions:FOLDER`: see `read_captions`."""
    if request.argument:
        return read_captions(request)
    return keep(request.data_dir / "captions" / f"{VERSION}.npz", _make)


def _make() -> Data:
    rng = np.random.default_rng(0)
    images, texts = {}, {}
    for split, (digits, labels) in split_digits().items():
        count = COUNTS[split]
        patches = [draw_patches(region, PATCH, count // 2, rng) for region in regions(split)]
        alphas = [_alpha(digit.reshape(8, 8)) for digit in digits]
        images[split], texts[split] = np.empty((count, SIZE, SIZE, 3), np.uint8), []
        for index in range(count):
            photo = index % 2
            image = Image.fromarray(next(patches[photo])).resize((SIZE, SIZE), Image.Resampling.BOX)
            images[split][index] = np.asarray(image)
            places = np.sort(rng.choice(len(PLACES), rng.integers(1, 3), replace=False))
            parts = []
            for place, row in zip(places, rng.choice(len(labels), len(places)), strict=True):
                colour = _draw_digit(images[split][index], alphas[row], place, rng)
                parts.append(f"a {colour} {NUMBERS[labels[row]]} at the {PLACES[place]}")
            texts[split].append(f"{' and '.join(parts)} on a {PHOTOS[photo]}".split())
    return _pack(images["train"], texts["train"], images["test"], texts["test"])


def _alpha(digit: np.ndarray) -> np.ndarray:
    """The opacity (DIGIT, DIGIT, 1) in 0..1 of a digit (8, 8) in 0..16."""
    small = Image.fromarray((digit * 255 / 16).astype(np.uint8))
    return np.asarray(small.resize((DIGIT, DIGIT), Image.Resampling.BICUBIC))[..., None] / 255


def _draw_digit(image: np.ndarray, alpha: np.ndarray, place: int, rng: np.random.Generator) -> str:
    """Draws a digit into a quarter of the image, at a random position and in a colour that it returns.

    The colour is a random one of those that are visible there, or else the one that is visible best.
    """
    top, left = np.array(divmod(place, 2)) * QUARTER + rng.integers(QUARTER - DIGIT, size=2, endpoint=True)
    patch = image[top : top + DIGIT, left : left + DIGIT]
    ink = alpha[..., 0] > 0
    weights, colours = alpha[ink][:, 0], np.array(list(COLOURS.values()))
    distances = np.linalg.norm(patch[ink] - colours[:, None], axis=-1)  # (colours, pixels)
    areas = (distances >= MIN_DISTANCE) @ weights / weights.sum()
    visible = np.flatnonzero(areas >= MIN_AREA)
    chosen = rng.choice(visible) if len(visible) else areas.argmax()
    patch[:] = np.round(patch * (1 - alpha) + colours[chosen] * alpha)
    return list(COLOURS)[chosen]


def read_captions(request: ReadRequest) -> Data:
    """`captions:FOLDER`: the user's own images, with their captions in FOLDER/captions.csv: file,caption.

    Every tenth line of captions.csv is for testing. White space separates the words, which are converted to
    lower case; words that are only in test captions are unknown.
    Errors: ValueError for a listing or an image that cannot be read, and for images that do not fit into
    memory.
    """
    assert request.shape is not None, "the set has a shape"
    train, test, skipped = read_listing(
        Path(request.argument), "captions.csv", "caption", request.skip_unreadable
    )
    nbytes = (len(train) + len(test)) * math.prod(request.shape)
    check_memory(nbytes, f"the images of {request.name}", "give a smaller --image-size")
    images = [read_images([one.file for one in some], request.shape, request.fit) for some in (train, test)]
    texts = [[one.text.lower().split() for one in some] for some in (train, test)]
    data = _pack(images[0], texts[0], images[1], texts[1])
    return data._replace(meta={**data.meta, "skipped": skipped}) if skipped else data


def _pack(
    train_images: np.ndarray, train_texts: Sequence[Sequence[str]], test_images: np.ndarray,
    test_texts: Sequence[Sequence[str]],
) -> Data:  # fmt: skip
    """The Data of images (N, H, W, 3) and their captions; without test images there is no test split."""
    vocabulary = vocabulary_of(train_texts)
    length = 2 + max(map(len, [*train_texts, *test_texts]))

    def encode(images: np.ndarray, texts: Sequence[Sequence[str]]) -> Arrays:
        return {"image": images, "caption": encode_targets(texts, vocabulary, length)}

    test = encode(test_images, test_texts) if len(test_images) else None
    return Data(encode(train_images, train_texts), test, {"vocabulary": vocabulary})
