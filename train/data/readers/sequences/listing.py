"""The user's own images with a text each, which a CSV file in their folder lists: file,text."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from train.data.readers.image_files import check_images
from train.data.readers.sequences.vocabulary import plain_text
from train.data.readers.text_files import read_rows


class Listed(NamedTuple):
    """An image file and its text."""

    file: Path
    text: str


class Listing(NamedTuple):
    """The readable images of a folder. skipped: the unreadable ones, with the reasons."""

    train: list[Listed]
    test: list[Listed]
    skipped: list[str]


def read_listing(folder: Path, name: str, column: str, skip_unreadable: bool) -> Listing:
    """The images that the file `name` in the folder lists; every tenth one is for testing.

    column: what the header may call the second column; a first line "file,<column>" is not an image.
    Errors: ValueError for a listing that is missing or of another form, with the line, and for files that are
    not readable images, unless they are skipped.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    path = folder / name
    rows = read_rows(path)
    if [cell.lower() for cell in rows[0].cells] == ["file", column]:
        rows = rows[1:]
    if not rows or len(rows[0].cells) != 2:
        raise ValueError(f"{path} lists no images: two columns are expected, file,{column}")
    listed = []
    for line, (file, text) in rows:
        if not file or not plain_text(text):
            raise ValueError(f"{path} line {line} has no {column if file else 'file'}")
        listed.append(Listed(folder / file, plain_text(text)))
    faults = check_images(dict.fromkeys(one.file for one in listed), skip_unreadable).faults

    def readable(some: Sequence[Listed]) -> list[Listed]:
        return [one for one in some if one.file not in faults]

    train = readable([one for index, one in enumerate(listed) if index % 10 != 9])
    if not train:
        raise ValueError(f"{path} lists no readable images to train on")
    return Listing(train, readable(listed[9::10]), [f"{file} ({fault})" for file, fault in faults.items()])
