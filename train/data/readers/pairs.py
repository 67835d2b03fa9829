"""Pictures of two domains without pairs: {"a": (N, H, W, C) uint8, "b": (N, H, W, C) uint8}.

Row by row a and b have nothing to do with each other: the feed pairs them anew every epoch. There is one N,
so the domain of fewer pictures repeats its own from the first on. meta is {"domains": [name of a, of b]}.
"""

from pathlib import Path
from typing import Any

import numpy as np

from train.data.datasets import Fit, ReadRequest, Shape, find_dataset
from train.data.feeds import IN_MEMORY_LIMIT
from train.data.images import fit_arrays
from train.data.load import load_data
from train.data.readers.folder import ImageFiles, check_images, folder_contents
from train.data.sources import Arrays, Data, read_source


def digits_to_photos(request: ReadRequest) -> Data:
    """Plain digits (a), and coloured ones on photographs (b), in which they have the same size and place."""
    shape, fit = _shape(request), request.fit
    plain = _splits("digits", request.data_dir, find_dataset("digits_on_photos").shape, "crop")
    colour = _splits("digits_on_photos", request.data_dir, shape, fit)
    train, test = (
        _paired(fit_arrays(a, shape, fit)["image"], b["image"]) for a, b in zip(plain, colour, strict=True)
    )
    return _unaligned(train, test, ["digits", "digits_on_photos"])


def photo_patches(request: ReadRequest) -> Data:
    """Patches of the photograph of a temple (a) and of a dahlia (b), of the shorter side of the shape."""
    shape = _shape(request)
    train, test = (
        _paired(*(split["image"][split["label"] == label] for label in (0, 1)))
        for split in _splits(f"photos:{min(shape[:2])}", request.data_dir, shape, request.fit)
    )
    return _unaligned(train, test, list(find_dataset("photos").classes))


def _splits(name: str, data_dir: Path, shape: Shape | None, fit: Fit) -> list[Any]:
    """The training and the test split of an embedded set of pictures, as arrays."""
    data = load_data(name, data_dir, kind="image", shape=shape, fit=fit)
    return [data.train, data.test]


def read_folders(request: ReadRequest) -> Data:
    """`folders:A,B`: the pictures in two folders, loose, or the splits under train/ and test/ as they stand.

    Of loose ones every tenth, by name, is to test; there is no test split where a domain has none.
    Errors: ValueError where a folder is laid out otherwise, for files that are no pictures (the first five,
    why, and how many), and where the pictures do not fit into memory.
    """
    shape = _shape(request)
    names = [name.strip() for name in request.argument.split(",")]
    if len(names) != 2 or not all(names):
        raise ValueError(
            f"folders takes two folders with one comma between: folders:A,B, got {request.argument!r}"
        )
    splits = [_files(Path(name)) for name in names]
    check_images(file for domain in splits for files in domain for file in files)
    train, test = (
        _read([domain[which] for domain in splits], request.argument, shape, request.fit)
        if all(domain[which] for domain in splits)
        else None
        for which in (0, 1)
    )
    return _unaligned(train, test, [Path(name).resolve().name for name in names])


def _files(root: Path) -> tuple[list[Path], list[Path]]:
    """The files of a domain to train on and to test on, by name."""
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder")
    folders, files = folder_contents(root)
    if {folder.name for folder in folders} == {"train", "test"} and not files:
        train, test = (_loose(root / split) for split in ("train", "test"))
        return train, test
    files = _loose(root)
    return [file for i, file in enumerate(files) if i % 10 != 9], files[9::10]


def _loose(folder: Path) -> list[Path]:
    folders, files = folder_contents(folder)
    if folders:
        raise ValueError(
            f"{folders[0]} is a folder: a domain's pictures lie loose, or under train/ and test/"
        )
    if not files:
        raise ValueError(f"{folder} has no pictures")
    return files


def _read(domains: list[list[Path]], argument: str, shape: Shape, fit: Fit) -> Arrays:
    count = max(map(len, domains))
    nbytes = 2 * count * int(np.prod(shape))
    if nbytes > IN_MEMORY_LIMIT:
        raise ValueError(
            f"the pictures of folders:{argument} take {nbytes:,} bytes at {shape[0]}x{shape[1]}, and two "
            f"domains are kept in memory, in {IN_MEMORY_LIMIT:,} at most: give a smaller --image-size"
        )
    sources = [ImageFiles(shape, fit, tuple(map(str, files)), (0,) * len(files)) for files in domains]
    return _paired(*(read_source(source, len(source))["image"] for source in sources))


def _shape(request: ReadRequest) -> Shape:
    """The shape of the images, which is the same for both domains."""
    if request.shape is None:
        raise ValueError(f"the images of {request.name} have no common size: give --image-size")
    return request.shape


def _unaligned(train: Arrays, test: Arrays | None, domains: list[str]) -> Data:
    return Data(train, test, {"domains": domains}, unaligned=frozenset({"b"}))


def _paired(a: np.ndarray, b: np.ndarray) -> Arrays:
    """Both with as many rows as the longer has, the shorter from its first on again."""
    rows = np.arange(max(len(a), len(b)))
    return {"a": a[rows % len(a)], "b": b[rows % len(b)]}
