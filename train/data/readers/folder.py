"""`folder:PATH`: the user's own images, one folder per class.

    PATH/cat/1.jpg  PATH/dog/1.jpg                      every tenth file of a class, by name, is for testing
    PATH/train/cat/1.jpg  PATH/test/cat/2.jpg ...       the splits as given

Hidden files and notes (.txt, .md, .csv, .json) are ignored. Every other file must be a readable image. All
files are decoded once before training begins, so that a broken file is an error and is not skipped silently.
"""

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from train.data.datasets import ReadRequest, Shape
from train.data.images import ImageSource, check_image, open_image
from train.data.sources import Data

NOTES = {".txt", ".md", ".csv", ".json"}
MAX_NAMED = 5  # broken files that an error names


@dataclass(frozen=True)
class ImageFiles(ImageSource):
    """Image files and the numbers of their classes."""

    files: tuple[str, ...]
    labels: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.files)

    def load_image(self, index: int) -> tuple[Image.Image, int]:
        try:
            return open_image(self.files[index]), self.labels[index]
        except Exception as error:  # PIL raises exceptions of many types
            raise ValueError(f"{self.files[index]} cannot be read any more: {error}") from None


def read_folder(request: ReadRequest) -> Data:
    """Data whose images are decoded when they are accessed; the classes are the folders' names, sorted.

    The shape of the sources is the common shape of all files, or None if the shapes differ.
    Errors: ValueError for any other layout of the folder, and for files that are not images; the message
    names the first five with the reasons, and counts them.
    """
    root = Path(request.argument)
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder")
    folders, _ = folder_contents(root)
    if {"train", "test"} <= {folder.name for folder in folders}:
        train, test = _classes(root / "train"), _classes(root / "test")
        if unknown := sorted(test.keys() - train.keys()):
            raise ValueError(
                f"{root / 'test'} has classes that are not in {root / 'train'}: {', '.join(unknown)}"
            )
    else:
        classes = _classes(root)
        train = {name: [f for i, f in enumerate(files) if i % 10 != 9] for name, files in classes.items()}
        test = {name: files[9::10] for name, files in classes.items()}
    names = sorted(train)
    shape = check_images(file for split in (train, test) for files in split.values() for file in files)
    splits = [_source(split, names, shape) for split in (train, test)]
    return Data(splits[0], splits[1] if len(splits[1]) else None, {"classes": names})


def folder_contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """(the subfolders, the files that should be images), sorted by name."""
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    files = [path for path in paths if path.is_file() and path.suffix.lower() not in NOTES]
    return [path for path in paths if path.is_dir()], files


def _classes(root: Path) -> dict[str, list[Path]]:
    folders, loose = folder_contents(root)
    if not folders:
        raise ValueError(f"{root} has no folders: images are expected in one folder per class")
    if loose:
        raise ValueError(f"{loose[0]} is in no class: images are expected in one folder per class")
    classes = {}
    for folder in folders:
        deeper, classes[folder.name] = folder_contents(folder)
        if deeper:
            raise ValueError(f"{deeper[0]} is a folder in a class's folder: classes are one level deep")
        if not classes[folder.name]:
            raise ValueError(f"{folder} has no images")
    return classes


def check_images(files: Iterable[Path]) -> Shape | None:
    """The common shape of all files, None if they differ. ValueError for files that are not images."""
    files = list(files)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(threads.map(_shape_or_fault, files))
    shapes = {result for result in results if not isinstance(result, str)}
    faults = [
        f"{file} ({fault})" for file, fault in zip(files, results, strict=True) if isinstance(fault, str)
    ]
    if faults:
        more = f" and {len(faults) - MAX_NAMED} more" if len(faults) > MAX_NAMED else ""
        named = ", ".join(faults[:MAX_NAMED])
        raise ValueError(f"{len(faults)} of {len(files)} files cannot be read as images: {named}{more}")
    return shapes.pop() if len(shapes) == 1 else None


def _shape_or_fault(file: Path) -> Shape | str:
    try:
        return check_image(str(file))
    except Exception as error:  # PIL raises exceptions of many types
        return str(error).splitlines()[0] if str(error) else type(error).__name__


def _source(split: dict[str, list[Path]], names: list[str], shape: Shape | None) -> ImageFiles:
    pairs = [(str(file), names.index(name)) for name in names for file in split.get(name, [])]
    files, labels = zip(*pairs, strict=True) if pairs else ((), ())
    return ImageFiles(shape, "resize", files, labels)
