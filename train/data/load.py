"""Reads a named data set for a kind of task: `load_data`.

A set has a reader of its own, or is a TFDS builder (train/data/records.py).
"""

import importlib
from dataclasses import replace
from pathlib import Path

from train.data.datasets import DATASETS, KINDS, dataset_argument, find_dataset
from train.data.images import Fit, PictureSource, Shape, fit_arrays
from train.data.sources import Arrays, Data, Fresh, Source

__all__ = ["Arrays", "Data", "Fresh", "Source", "load_data"]


def load_data(
    name: str, data_dir: Path, *, kind: str, shape: Shape | None = None, fit: Fit = "resize"
) -> Data:
    """A data set's splits and what there is to know of it.

    kind: what the task takes, of KINDS. shape: of an image as the model takes it, (H, W, C); None keeps the
    set's own. fit: how images get there, "resize" or "crop" (see images.fit_picture).
    Images come as {"image": (N, H, W, C) uint8, "label": (N,) int32}, or as a Source of such examples.
    Errors: ValueError where the set is unknown, of another kind, or cannot be read: what to do, or which
    other set to use.
    """
    dataset = find_dataset(name)
    if kind not in dataset.kinds:
        suited = ", ".join(other for other, row in DATASETS.items() if kind in row.kinds)
        raise ValueError(f"{name} holds {KINDS[dataset.kind]}, and this takes {KINDS[kind]}: use {suited}")
    if dataset.reader:
        module, function = dataset.reader.split(":")
        read = getattr(importlib.import_module(module), function)
        if kind == "pair":  # made of other sets, and of one shape at once
            return read(dataset_argument(name), data_dir, shape or dataset.shape, fit)
        data = read(dataset_argument(name), kind)
    else:
        from train.data.records import read_records

        data = read_records(name, data_dir)
    if kind != "image":
        return data
    shape = shape or dataset.shape or data.train.shape
    if shape is None:
        raise ValueError(f"the pictures of {name} differ in size: say to which shape they are brought")
    if shape[2] not in (1, 3):
        raise ValueError(f"pictures have 1 or 3 channels, got the shape {tuple(shape)}")
    train, test = (_fitted(split, tuple(shape), fit) for split in (data.train, data.test))
    return Data(train, test, data.meta)


def _fitted(split: Arrays | PictureSource | None, shape: Shape, fit: Fit) -> Arrays | PictureSource | None:
    if isinstance(split, PictureSource):
        return replace(split, shape=shape, fit=fit)
    return split and fit_arrays(split, shape, fit)
