"""Data sets that are made on first use and kept in the data folder, as one file of arrays each."""

import contextlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from train.data.sources import Arrays, Data

META = "meta"


def keep(path: Path, make: Callable[[], Data]) -> Data:
    """The data set of the file `path`. If the file is missing or damaged, the data is made and written there.

    make: returns the Data, with arrays in all splits.
    Errors: ValueError if the file cannot be written.
    """
    try:
        with open(path, "rb") as file, np.load(file) as arrays:
            return _data_of(arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        data = make()
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:  # np.savez would add a suffix to a name
            np.savez(file, allow_pickle=False, **_arrays_of(data))
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise ValueError(f"cannot keep the data set in {path}: {error}") from None
    return data


def _splits(data: Data) -> dict[str, Arrays]:
    assert isinstance(data.train, dict) and isinstance(data.test, dict), "kept data is arrays"
    return {"train": data.train, "test": data.test, **{f"reported/{n}": s for n, s in data.reported.items()}}


def _arrays_of(data: Data) -> Arrays:
    """All arrays, named "train/image" or "reported/withheld forms/source", and the metadata as JSON."""
    arrays = {f"{split}/{name}": a for split, rows in _splits(data).items() for name, a in rows.items()}
    return {META: np.array(json.dumps(data.meta)), **arrays}


def _data_of(arrays: Mapping[str, np.ndarray]) -> Data:
    """The Data of the arrays that `_arrays_of` returned."""
    splits: dict[str, Arrays] = {}
    for key in arrays:
        split, _, name = key.rpartition("/")
        if split:
            splits.setdefault(split, {})[name] = arrays[key]
    meta = json.loads(str(arrays[META]))
    train, test = splits.pop("train"), splits.pop("test")
    return Data(train, test, meta, reported={n.removeprefix("reported/"): s for n, s in splits.items()})
