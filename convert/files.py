"""Files that torch.save wrote, read without running code."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch


def read_torch_file(file: Path) -> Mapping[str, Any]:
    """The dictionary in a file that torch.save wrote. Errors: ValueError for any other file."""
    if not file.is_file():
        raise ValueError(f"there is no file {file}")
    try:
        values = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged zip, a refused pickle, a file that is no torch file
        raise ValueError(
            f"{file} is not a file of tensors that torch.save wrote ({type(error).__name__})"
        ) from None
    if not isinstance(values, Mapping):
        raise ValueError(f"{file} holds a {type(values).__name__}, not a state dict")
    return values


def save_torch_file(values: Any, file: Path) -> None:
    """Writes values by torch.save; the file is written atomically."""
    part = file.with_name(f".{file.name}.part")
    torch.save(values, part)
    part.replace(file)
