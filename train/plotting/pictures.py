"""Pictures in files: each file appears whole or not at all."""

from pathlib import Path
from typing import Any

from PIL import Image


def check_picture_file(path: Path, *suffixes: str) -> None:
    """ValueError if a picture cannot be written to this path. Makes the folder of the path.

    suffixes: the allowed ones; by default those of the formats that PIL writes.
    """
    Image.init()
    allowed = suffixes or [end for end, form in Image.registered_extensions().items() if form in Image.SAVE]
    if path.suffix.lower() not in allowed:
        raise ValueError(f"{path} must have a suffix such as {suffixes[0] if suffixes else '.png or .jpg'}")
    if path.is_dir():
        raise ValueError(f"{path} is a folder, not a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _part_of(path).touch()
        _part_of(path).unlink()
    except OSError as error:
        raise ValueError(f"{path} cannot be written: {error.strerror}") from None


def save_picture(picture: Image.Image, path: Path, **options: Any) -> None:
    """Writes a picture; the suffix of the path gives the format. options: those of PIL for the format."""
    part = _part_of(path)
    picture.save(part, **options)
    part.replace(path)


def _part_of(path: Path) -> Path:
    return path.with_name(f".{path.stem}.part{path.suffix}")
