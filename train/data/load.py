"""Reads a named data set for a kind of task: `load_data`."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

from train.data.datasets import DATASETS, KINDS, Fit, ReadRequest, Shape, dataset_argument, find_dataset
from train.data.images import ImageSource, fit_arrays
from train.data.sources import Data


def load_data(
    name: str, data_dir: Path, *, kind: str, shape: Shape | None = None, fit: Fit = "resize",
    skip_unreadable: bool = False,
) -> Data:  # fmt: skip
    """The splits of a data set and its facts.

    kind: what the task takes, one of KINDS. shape: (H, W, C) of an image as the model takes it; None keeps
    the shape of the set. fit: how images get that shape (`images.fit_image`). skip_unreadable: leave out the
    user's files that are not readable images, and list them in meta["skipped"].
    Labelled images are {"image": (N, H, W, C) uint8, "label": (N,) int32}, or a Source of such examples.
    Errors: ValueError for a set that is unknown, is of another kind, or cannot be read. The message says what
    to do, or which sets can be used.
    """
    dataset = find_dataset(name)
    if kind not in dataset.kinds:
        suited = ", ".join(other for other, row in DATASETS.items() if kind in row.kinds)
        raise ValueError(
            f"{name} holds {KINDS[dataset.kind]}, but the model takes {KINDS[kind]}; use {suited}"
        )
    module, function = dataset.reader.split(":")
    request = ReadRequest(
        name, dataset_argument(name), kind, data_dir, shape or dataset.shape, fit, skip_unreadable
    )
    data: Data = getattr(importlib.import_module(module), function)(request)
    train, test = (_fit_split(split, request) for split in (data.train, data.test))
    reported = {name: _fit_split(split, request) for name, split in data.reported.items()}
    return data._replace(train=train, test=test, reported=reported)


def _fit_split(split: Any, request: ReadRequest) -> Any:
    """The split with its labelled images in the requested shape; other splits unchanged."""
    if isinstance(split, ImageSource):
        return replace(split, shape=_check_shape(request.shape or split.shape, request), fit=request.fit)
    if isinstance(split, dict) and "image" in split:
        shape = _check_shape(request.shape or split["image"].shape[1:], request)
        return fit_arrays(split, shape, request.fit)
    return split


def _check_shape(shape: Any, request: ReadRequest) -> Shape:
    """The shape. Errors: ValueError if there is none, or if its channels are not 1 or 3."""
    if shape is None:
        raise ValueError(
            f"the images of {request.name} differ in size: give the size to which they are resized "
            "(--image-size)"
        )
    if shape[2] not in (1, 3):
        raise ValueError(f"images have 1 or 3 channels, got the shape {tuple(shape)}")
    height, width, channels = shape
    return height, width, channels
