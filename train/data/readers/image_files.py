"""The user's own image files: which files of a folder are images, and which of them can be read.

Hidden files, files of the operating system and notes (.txt, .md, .csv, .json) are ignored. Every other file
must be a readable image. All files are decoded once before training begins, so that a broken file is an error
and is not skipped silently.
"""

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from train.data.datasets import Shape
from train.data.images import ImageSource, check_image, open_image
from train.lookup import name_some

NOTES = {".txt", ".md", ".csv", ".json"}
SYSTEM = {"thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx"}
TEST_FOLDERS = ("test", "val", "valid", "validation")  # the first of these beside train/ is the test split
SKIP = "--skip-unreadable trains without them"


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


def folder_contents(folder: Path) -> tuple[list[Path], list[Path]]:
    """(the subfolders, the files that should be images), sorted by name."""
    paths = sorted(
        path for path in folder.iterdir() if not path.name.startswith(".") and path.name.lower() not in SYSTEM
    )
    files = [path for path in paths if path.is_file() and path.suffix.lower() not in NOTES]
    return [path for path in paths if path.is_dir()], files


def split_folders(folders: Sequence[Path]) -> tuple[Path, Path] | None:
    """(train/, the folder of the test split) among these folders; None if they are not splits."""
    named = {folder.name: folder for folder in folders}
    test = next((named[name] for name in TEST_FOLDERS if name in named), None)
    return (named["train"], test) if "train" in named and test else None


class Checked(NamedTuple):
    """The result of `check_images`.

    shape: the common shape of all readable files; None if they differ. faults: {unreadable file: the reason}.
    """

    shape: Shape | None
    faults: dict[Path, str]


def check_images(files: Iterable[Path], skip_unreadable: bool = False) -> Checked:
    """Decodes every file once.

    Errors: ValueError for files that are not images, unless they are skipped; the message names the first
    five with the reasons, and counts them. ValueError too if no file is an image.
    """
    files = list(files)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        results = list(threads.map(_shape_or_fault, files))
    shapes = {result for result in results if not isinstance(result, str)}
    faults = {file: fault for file, fault in zip(files, results, strict=True) if isinstance(fault, str)}
    if faults and not (skip_unreadable and shapes):
        advice = f": {SKIP}" if shapes else ""
        named = name_some([f"{file} ({fault})" for file, fault in faults.items()])
        raise ValueError(f"{len(faults)} of {len(files)} files cannot be read as images: {named}{advice}")
    return Checked(shapes.pop() if len(shapes) == 1 else None, faults)


def _shape_or_fault(file: Path) -> Shape | str:
    try:
        return check_image(str(file))
    except Exception as error:  # PIL raises exceptions of many types
        return str(error).splitlines()[0] if str(error) else type(error).__name__
