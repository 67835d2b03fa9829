"""The labels of a classifier: indices into the classes of its data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from train.data.sources import Arrays, Data
from train.lookup import name_some


def fit_labels(data: Data, binary: bool, run_meta: Mapping[str, Any] | None = None) -> Data:
    """The data with meta["classes"], and with labels that are indices into it.

    Labels (N,) or (N, 1) of arrays become (N,) int32, or (N, 1) float32 if `binary`. Labels of another shape,
    such as one per pixel, stay as they are. If the data has no classes, the values of its labels are the
    classes: whole numbers in increasing order.
    binary: the model gives one probability, so there must be two classes; of more, those with examples count.
    run_meta: the metadata of a trained run. Its classes replace those of the data, which have the same names,
    or the names of their indices.
    Errors: ValueError for fewer than two classes, for another number than two if `binary`, and for labels
    that are missing, not whole, or no class.
    """
    splits = {"train": data.train, "test": data.test}
    arrays = {name: split for name, split in splits.items() if isinstance(split, dict)}
    labels = {name: _labels_of(split) for name, split in arrays.items()}
    classes = data.meta.get("classes")
    if any(values.ndim != 1 for values in labels.values()) or (classes is None and not labels):
        return data
    if classes is None:
        found = _distinct(labels)
        classes, labels = [f"{value:.0f}" for value in found], _renumber(labels, found)
    for values in labels.values():
        _check_range(values, len(classes))
    if binary and labels and len(classes) > 2:
        found = _distinct(labels)
        classes, labels = [classes[int(number)] for number in found], _renumber(labels, found)
    if run_meta is None:
        _check_count(classes, binary)
    else:
        known = run_meta.get("classes", ["0", "1"] if binary else classes)
        positions = np.array([_position(name, known) for name in classes])
        classes, labels = known, {name: positions[values.astype(int)] for name, values in labels.items()}
    fitted = {name: _with_labels(split, labels[name], binary) for name, split in arrays.items()}
    return data._replace(**fitted, meta={**data.meta, "classes": list(classes)})


def _name_of(split: Arrays) -> str:
    for name in ("label", "y"):
        if name in split:
            return name
    raise ValueError("a classifier needs labels, and the data has none")


def _labels_of(split: Arrays) -> np.ndarray:
    """The labels, (N,) for labels (N,) or (N, 1). ValueError for labels that are not whole numbers."""
    labels = np.asarray(split[_name_of(split)])
    labels = labels[:, 0] if labels.shape[1:] == (1,) else labels
    wrong = labels[labels != np.round(labels)]
    if wrong.size:
        raise ValueError(f"the labels of a classifier are whole numbers, got {wrong.flat[0]:g}")
    return labels


def _distinct(labels: Mapping[str, np.ndarray]) -> np.ndarray:
    """The values of the labels of all splits, sorted."""
    return np.unique(np.concatenate(list(labels.values())))


def _renumber(labels: Mapping[str, np.ndarray], values: np.ndarray) -> dict[str, np.ndarray]:
    """The labels as indices into the sorted values."""
    return {split: np.searchsorted(values, found) for split, found in labels.items()}


def _check_range(labels: np.ndarray, count: int) -> None:
    wrong = labels[(labels < 0) | (labels >= count)]
    if wrong.size:
        raise ValueError(f"the label {wrong[0]:.0f} is no class: the labels are from 0 to {count - 1}")


def _check_count(classes: Sequence[str], binary: bool) -> None:
    if len(classes) < 2:
        raise ValueError(
            f"a classifier needs two classes, and the data has {len(classes)}: {name_some(classes)}"
        )
    if binary and len(classes) != 2:
        raise ValueError(
            f"the loss bce distinguishes two classes, and the data has {len(classes)}: {name_some(classes)}"
        )


def _position(name: str, classes: Sequence[str]) -> int:
    """The index of a class of the data among the classes of the run."""
    if name in classes:
        return list(classes).index(name)
    if name.isdecimal() and int(name) < len(classes):
        return int(name)
    raise ValueError(f"{name} is no class of the run, which has {name_some(classes)}")


def _with_labels(split: Arrays, labels: np.ndarray, binary: bool) -> Arrays:
    fitted = labels.astype(np.float32)[:, None] if binary else labels.astype(np.int32)
    return {**split, _name_of(split): fitted}
