"""DATASETS: every data set by name. Nothing here imports jax or tensorflow-datasets.

Embedded sets need no network: scikit-learn ships their data, or this package does. The others are the
upstream sets of tensorflow-datasets, and the user's own files.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from train.lookup import look_up

KINDS = {
    "image": "labelled images",
    "table": "rows of numbers x and y",
    "labelled": "rows of numbers with a class",
    "curves": "the heights of curves",
    "series": "a raw time series",
    "forecast": "a time series split for forecasting",
    "text": "words",
    "characters": "a text by characters",
    "tagged": "tagged sentences",
    "pair": "images of two domains",
    "text_pairs": "pairs of texts",
    "lines": "images of lines of symbols",
    "captions": "images with captions",
}
"""The kinds of data that a task can take, and what an error message calls them."""

Shape = tuple[int, int, int]
"""Height, width and channels of an image."""
Fit = Literal["resize", "crop"]
"""How an image gets another shape.

"resize": resample to cover the shape, then crop. "crop": keep the scale, crop or pad.
"""


@dataclass(frozen=True)
class Dataset:
    """One data set.

    about: one line for --list. kind: one of KINDS. also: further kinds that the set can be read as. reader:
    "module:function" of the function that takes a ReadRequest and returns the Data. builder: for the TFDS
    reader: "module:class" of an embedded builder, or the name of an upstream set. splits: the builder's
    slices for training and for testing, in TFDS's notation. shape: (height, width, channels) of an image in
    uint8; None if the images have different sizes. classes: the names of the classes. argument: the
    placeholder of the argument that a user writes after the name, as PATH in name:PATH. default: the argument
    if the user gives none; "" if the set exists without one. sizes: the integers that the argument may be.
    embedded: the name of the embedded set that replaces this one without network.
    """

    about: str
    kind: str
    builder: str = ""
    reader: str = "train.data.readers.records:read_records"
    shape: Shape | None = None
    classes: tuple[str, ...] = ()
    embedded: str | None = None
    argument: str | None = None
    default: str | None = None
    sizes: Sequence[int] | None = None
    also: tuple[str, ...] = ()
    splits: tuple[str, str] = ("train", "test")

    @property
    def kinds(self) -> tuple[str, ...]:
        """All kinds that the set can be read as."""
        return (self.kind, *self.also)

    @property
    def is_embedded(self) -> bool:
        """Whether this package has the builder of the set, so that it needs no network."""
        return ":" in self.builder


@dataclass(frozen=True)
class ReadRequest:
    """The arguments of a reader.

    name: the set as the user writes it, such as "photos:96". argument: the part after the colon, or the row's
    default. kind: one of KINDS. data_dir: the folder that keeps data sets. shape: (H, W, C) of the images
    that the model takes; None if neither the set nor the caller gives one. fit: how images get that shape
    (`images.fit_image`). skip_unreadable: leave out files that are not readable images; otherwise they are
    an error.
    """

    name: str
    argument: str
    kind: str
    data_dir: Path
    shape: Shape | None
    fit: Fit
    skip_unreadable: bool = False


DIGITS = tuple("0123456789")
PHOTO_SIZES = range(8, 201)  # the largest square that fits into the test region of a photograph is 200
FASHION = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

DATASETS: dict[str, Dataset] = {
    "digits": Dataset(
        "1,797 real handwritten digits of scikit-learn, 8x8 enlarged to 28x28; 1,500 train, 297 test",
        "image", builder="train.data.readers.digits:Digits", shape=(28, 28, 1), classes=DIGITS,
    ),
    "digits_on_photos": Dataset(
        "the same digits, coloured, on patches of two real photographs, 32x32; 6,000 train, 1,188 test",
        "image", builder="train.data.readers.digits_on_photos:DigitsOnPhotos", shape=(32, 32, 3),
        classes=DIGITS,
    ),
    "photos": Dataset(
        "patches of two real photographs, photos:SIZE pixels per side (64); 2,000 train, 400 test",
        "image", builder="train.data.readers.photos:Photos", shape=(64, 64, 3), classes=("china", "flower"),
        argument="SIZE", default="64", sizes=PHOTO_SIZES,
    ),
    "mnist": Dataset(
        "the MNIST digits; 60,000 train, 10,000 test",
        "image", builder="mnist", shape=(28, 28, 1), classes=DIGITS, embedded="digits",
    ),
    "fashion_mnist": Dataset(
        "Zalando's images of clothes; 60,000 train, 10,000 test",
        "image", builder="fashion_mnist", shape=(28, 28, 1), classes=FASHION, embedded="digits",
    ),
    "cifar10": Dataset(
        "the CIFAR-10 images, 32x32; 50,000 train, 10,000 test",
        "image", builder="cifar10", shape=(32, 32, 3), classes=CIFAR10, embedded="digits_on_photos",
    ),
    "cats_vs_dogs": Dataset(
        "23,262 photographs of all sizes; 90 % train, 10 % test",
        "image", builder="cats_vs_dogs", classes=("cat", "dog"), embedded="photos",
        splits=("train[:90%]", "train[90%:]"),
    ),
    "folder": Dataset(
        "folder:PATH, your own images: one folder per class, in PATH or in PATH/train and PATH/test (or val)",
        "image", reader="train.data.readers.folder:read_folder", argument="PATH",
    ),
    "csv": Dataset(
        "csv:PATH, your own rows of numbers: the last column is the target, the class, or the series",
        "table", reader="train.data.readers.series:read_csv", argument="PATH",
        also=("labelled", "series", "forecast"),
    ),
    "iris_petals": Dataset(
        "petal length and width of 100 irises of scikit-learn, versicolor (0) or virginica (1)",
        "labelled", reader="train.data.readers.tables:iris_petals", classes=("versicolor", "virginica"),
        also=("table",),
    ),
    "points": Dataset(
        "15 points near a line, one x and one y", "table", reader="train.data.readers.tables:points",
    ),
    "polynomial": Dataset(
        "y = 0.9 + 0.5x + 3x^2 + 2.4x^3 at x ~ N(0, 1), new values of x in every step",
        "table", reader="train.data.readers.tables:polynomial",
    ),
    "curves": Dataset(
        "a painter's curves a x^2 + a - 1 at 15 positions, a ~ U(1, 2), new values of a in every step",
        "curves", reader="train.data.readers.tables:curves",
    ),
    "random_pairs": Dataset(
        "100 random rows: 1,000 numbers x, 10 numbers y, all N(0, 1)",
        "table", reader="train.data.readers.tables:random_pairs",
    ),
    "airline_passengers": Dataset(
        "passengers of international airlines in the 144 months from 1949 to 1960; 70 % train, 30 % test",
        "forecast", reader="train.data.readers.series:airline_passengers",
    ),
    "sonnet": Dataset(
        "the 113 trigrams of Shakespeare's second sonnet", "text", reader="train.data.readers.text:sonnet",
    ),
    "text": Dataset(
        "text:PATH, your own text: words that white space separates, or characters",
        "text", reader="train.data.readers.text:read_text", argument="PATH", also=("characters",),
    ),
    "python_docs": Dataset(
        "the reference texts of Python's own help, by characters; 90 % train, 10 % test",
        "characters", reader="train.data.readers.sequences.characters:python_docs",
    ),
    "tagged_sentences": Dataset(
        "two sentences with the part of speech of every word; a third one to test on",
        "tagged", reader="train.data.readers.tagged:tagged_sentences",
    ),
    "tagged": Dataset(
        "tagged:PATH, your own sentences: one per line, every word as word/TAG",
        "tagged", reader="train.data.readers.tagged:read_tagged", argument="PATH",
    ),
    "digits_to_photos": Dataset(
        "unpaired: white digits on black (a), coloured ones on photos (b), 32x32; 6,000 train, 1,188 test",
        "pair", reader="train.data.readers.pairs:digits_to_photos", shape=(32, 32, 3),
    ),
    "grey_to_colour": Dataset(
        "unpaired: digits on photos in grey (a), other ones in colour (b), 32x32; 3,000 train, 594 test",
        "pair", reader="train.data.readers.pairs:grey_to_colour", shape=(32, 32, 3),
    ),
    "photo_patches": Dataset(
        "unpaired: patches of one real photograph (a), of another one (b), 32x32; 1,000 train, 200 test",
        "pair", reader="train.data.readers.pairs:photo_patches", shape=(32, 32, 3),
    ),
    "folders": Dataset(
        "folders:A,B, two folders of your own unpaired images, which may have subfolders train/ and test/",
        "pair", reader="train.data.readers.pairs:read_folders", argument="A,B",
    ),
    "dates": Dataset(
        "days from 1969 to 2068 in 30 languages and several forms, and as ISO 8601; 20,000 train, 2,000 test",
        "text_pairs", reader="train.data.readers.sequences.dates:dates",
    ),
    "digit_lines": Dataset(
        "3 to 8 of the digits in a line, 32 pixels high and up to 192 wide; 6,000 train, 600 test",
        "lines", reader="train.data.readers.sequences.digit_lines:digit_lines",
    ),
    "lines": Dataset(
        "lines:FOLDER, your own images of lines, and labels.csv in the same folder: file,text",
        "lines", reader="train.data.readers.sequences.lines:read_lines", argument="FOLDER",
    ),
    "captions": Dataset(
        "one or two coloured digits on a photograph, 64x64; 8,000 train, 800 test; captions:FOLDER, your own "
        "images, and captions.csv in the same folder: file,caption",
        "captions", reader="train.data.readers.sequences.captions:captions", shape=(64, 64, 3),
        argument="FOLDER", default="",
    ),
    "pairs": Dataset(
        "pairs:FILE, your own pairs of texts: one per line, separated by a tab",
        "text_pairs", reader="train.data.readers.sequences.text_pairs:read_pairs", argument="FILE",
    ),
}  # fmt: skip


def find_dataset(name: str) -> Dataset:
    """The row of a set.

    name: as a user writes it, "mnist" or "folder:images/cats". An argument that is a size gives the shape.
    Errors: ValueError with near matches for an unknown name, and for an argument that is missing, that the
    set does not take, or that is out of range.
    """
    base, colon, argument = name.partition(":")
    dataset = look_up(DATASETS, base, "dataset")
    if dataset.argument is None:
        if colon:
            raise ValueError(f"{base} takes no argument, got {name!r}: write {base}")
        return dataset
    if not argument and (colon or dataset.default is None):
        raise ValueError(
            f"{base} needs its {dataset.argument}: write {base}:{dataset.argument}, got {name!r}"
        )
    if dataset.sizes and argument:
        if argument not in map(str, dataset.sizes):
            low, high = dataset.sizes[0], dataset.sizes[-1]
            raise ValueError(f"{base}:{dataset.argument} takes a size from {low} to {high}, got {name!r}")
        return replace(dataset, shape=(int(argument), int(argument), 3))
    return dataset


def dataset_argument(name: str) -> str:
    """The part after the colon, or its default: "PATH" for "folder:PATH", "64" for "photos"."""
    return name.partition(":")[2] or find_dataset(name).default or ""
