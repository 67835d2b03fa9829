"""Unpaired images of two domains: {"a": (N, H, W, C) uint8, "b": (N, H, W, C) uint8}.

The rows of a and b do not correspond to each other: the feed pairs them at random in every epoch. Both have
the same N, so the domain with fewer images repeats them. `meta` is {"domains": [name of a, name of b]}.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from train.data.datasets import Fit, ReadRequest, Shape, find_dataset
from train.data.images import fit_arrays
from train.data.load import load_data
from train.data.readers.digits_on_photos import LIGHTNESS
from train.data.readers.image_files import (
    TEST_FOLDERS,
    ImageFiles,
    check_images,
    folder_contents,
    split_folders,
)
from train.data.sources import Arrays, Data, check_memory, read_source


def digits_to_photos(request: ReadRequest) -> Data:
    """White digits (a) and coloured digits on photographs (b), of the same size and on the same pixels."""
    shape, fit = _required_shape(request), request.fit
    plain = _read_splits("digits", request.data_dir, find_dataset("digits_on_photos").shape, "crop")
    colour = _read_splits("digits_on_photos", request.data_dir, shape, fit)
    train, test = (
        _repeat_shorter(fit_arrays(a, shape, fit)["image"], b["image"])
        for a, b in zip(plain, colour, strict=True)
    )
    return _unaligned_data(train, test, ["digits", "digits_on_photos"])


def grey_to_colour(request: ReadRequest) -> Data:
    """Digits on photographs, in grey (a) and in colour (b). No image is in both domains.

    The first half of `digits_on_photos` is in a, as its lightness: two copies of every digit, one on each
    photograph. The other two copies are in b.
    """
    shape = _required_shape(request)
    images = [
        split["image"] for split in _read_splits("digits_on_photos", request.data_dir, shape, request.fit)
    ]
    halves = [np.split(image, 2) for image in images]
    train, test = (_repeat_shorter(_in_grey(first), second) for first, second in halves)
    return _unaligned_data(train, test, ["grey", "colour"])


def _in_grey(images: np.ndarray) -> np.ndarray:
    """The lightness of images (N, H, W, 3) uint8, three times."""
    return np.round(images @ LIGHTNESS).astype(np.uint8)[..., None].repeat(3, axis=-1)


def photo_patches(request: ReadRequest) -> Data:
    """Patches of the photographs of a temple (a) and of a dahlia (b).

    The side of a patch is the shorter side of the requested shape.
    """
    shape = _required_shape(request)
    train, test = (
        _repeat_shorter(*(split["image"][split["label"] == label] for label in (0, 1)))
        for split in _read_splits(f"photos:{min(shape[:2])}", request.data_dir, shape, request.fit)
    )
    return _unaligned_data(train, test, list(find_dataset("photos").classes))


def _read_splits(name: str, data_dir: Path, shape: Shape | None, fit: Fit) -> list[Any]:
    """[the training split, the test split] of an embedded set of images, as arrays."""
    data = load_data(name, data_dir, kind="image", shape=shape, fit=fit)
    return [data.train, data.test]


def read_folders(request: ReadRequest) -> Data:
    """`folders:A,B`: the images in two folders, either directly in each, or split into train/ and test/.

    The folder of the test split may also have the name val, valid or validation. Of files directly in a
    folder, every tenth by name is for testing. If one domain has no test image, there is no test split.
    meta["skipped"] lists the unreadable files, if the request skips them.
    Errors: ValueError for any other layout of a folder, for files that are not images (the message names the
    first five with the reasons), and for images that do not fit into memory.
    """
    shape = _required_shape(request)
    names = [name.strip() for name in request.argument.split(",")]
    if len(names) != 2 or not all(names):
        raise ValueError(
            f"folders takes two folders separated by one comma: folders:A,B, got {request.argument!r}"
        )
    domains = [_list_files(Path(name)) for name in names]
    every = [file for splits in domains for files in splits for file in files]
    faults = check_images(every, request.skip_unreadable).faults
    domains = [[[file for file in files if file not in faults] for files in splits] for splits in domains]
    (a_train, a_test), (b_train, b_test) = domains
    for name, files in zip(names, (a_train, b_train), strict=True):
        if not files:
            raise ValueError(f"{name} has no readable images to train on")
    train = _read_images(a_train, b_train, request, shape)
    test = _read_images(a_test, b_test, request, shape) if a_test and b_test else None
    data = _unaligned_data(train, test, [Path(name).resolve().name for name in names])
    skipped = [f"{file} ({fault})" for file, fault in faults.items()]
    return data._replace(meta={**data.meta, "skipped": skipped}) if skipped else data


def _list_files(root: Path) -> tuple[list[Path], list[Path]]:
    """(the files of a domain to train on, at least one; those to test on), sorted by name."""
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder")
    folders, files = folder_contents(root)
    splits = split_folders(folders)
    if splits and not files and {folder.name for folder in folders} <= {"train", *TEST_FOLDERS}:
        train, test = map(_files_of_one_folder, splits)
        return train, test
    files = _files_of_one_folder(root)
    return [file for i, file in enumerate(files) if i % 10 != 9], files[9::10]


def _files_of_one_folder(folder: Path) -> list[Path]:
    folders, files = folder_contents(folder)
    if folders:
        raise ValueError(
            f"{folders[0]} is a folder: the images of a domain are expected directly in its folder, or all "
            f"in train/ and test/ (test may be called {', '.join(TEST_FOLDERS[1:])})"
        )
    if not files:
        raise ValueError(f"{folder} has no images")
    return files


def _read_images(a: list[Path], b: list[Path], request: ReadRequest, shape: Shape) -> Arrays:
    count = max(len(a), len(b))
    images = f"the images of {request.name} at {shape[0]}x{shape[1]}"
    check_memory(2 * count * math.prod(shape), images, "give a smaller --image-size")
    sources = [ImageFiles(shape, request.fit, tuple(map(str, files)), (0,) * len(files)) for files in (a, b)]
    return _repeat_shorter(*(read_source(source, len(source))["image"] for source in sources))


def _required_shape(request: ReadRequest) -> Shape:
    """The shape of the images, which is the same for both domains. Errors: ValueError if there is none."""
    if request.shape is None:
        raise ValueError(f"the images of {request.name} have no common size: give --image-size")
    return request.shape


def _unaligned_data(train: Arrays, test: Arrays | None, domains: list[str]) -> Data:
    return Data(train, test, {"domains": domains}, unaligned=frozenset({"b"}))


def _repeat_shorter(a: np.ndarray, b: np.ndarray) -> Arrays:
    """Both domains with as many rows as the longer one; the shorter one repeats its rows in order."""
    rows = np.arange(max(len(a), len(b)))
    return {"a": a[rows % len(a)], "b": b[rows % len(b)]}
