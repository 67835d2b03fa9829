"""Reads a named data set's split into arrays, preparing the embedded ones on first use.

All sets are TFDS builders in ArrayRecord files, read through `as_data_source`, which needs no
TensorFlow. Preparing an upstream set does: that is what the extra `[tfds]` is for.
"""

import contextlib
import importlib
import os
from pathlib import Path
from typing import Any

import numpy as np

from train.data.datasets import Dataset, find_dataset

Arrays = dict[str, np.ndarray]


def load_split(name: str, split: str, data_dir: Path) -> Arrays:
    """{"image": (N, H, W, C) uint8, "label": (N,) int32} of "train" or "test".

    Errors: ValueError where the set is unknown, or is not prepared and cannot be: what to install,
    or which embedded set to use.
    """
    dataset = find_dataset(name)
    # TFDS takes over a second to import and logs through absl, so both wait until data is read.
    with _quiet_tfds():
        builder = _embedded_builder(dataset, data_dir) if dataset.is_embedded else None
        if builder is None:
            builder = _upstream_builder(name, dataset, data_dir)
        source = builder.as_data_source(split=split)
        examples = [source[i] for i in range(len(source))]
    return {
        "image": np.stack([example["image"] for example in examples]),
        "label": np.asarray([example["label"] for example in examples], np.int32),
    }


@contextlib.contextmanager
def _quiet_tfds():
    import logging

    import tensorflow_datasets as tfds

    tfds.display_progress_bar(False)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _embedded_builder(dataset: Dataset, data_dir: Path) -> Any:
    module, cls = dataset.builder.split(":")
    builder = getattr(importlib.import_module(module), cls)(data_dir=data_dir, file_format="array_record")
    try:
        builder.download_and_prepare()
    except OSError as error:
        raise ValueError(f"cannot prepare {builder.name} in {data_dir}: {error}") from None
    return builder


def _upstream_builder(name: str, dataset: Dataset, data_dir: Path) -> Any:
    import tensorflow_datasets as tfds

    advice = f"use the embedded set: --dataset {dataset.embedded}" if dataset.embedded else "see --list"
    prepared = sorted((Path(data_dir) / dataset.builder).glob("**/dataset_info.json"))
    if prepared:  # read from its own metadata, without TensorFlow
        builder = tfds.builder_from_directory(prepared[-1].parent)
        if getattr(builder.info.file_format, "value", None) != "array_record":
            raise ValueError(
                f"{prepared[-1].parent} is not in ArrayRecord files: prepare {name} in another data folder"
            )
        return builder
    try:
        importlib.import_module("tensorflow")
    except ImportError:
        raise ValueError(
            f"{name} is not prepared in {data_dir}, and preparing it needs TensorFlow: "
            f"pip install 'flax-torch-twins[tfds]', or {advice}"
        ) from None
    try:
        builder = tfds.builder(dataset.builder, data_dir=data_dir, file_format="array_record")
        _check_network(builder.info.homepage)
        builder.download_and_prepare()
        return builder
    except Exception as error:  # TFDS lets every kind of network error through
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ValueError(
            f"cannot download {name} into {data_dir} ({reason}): try again, or {advice}"
        ) from None


def _check_network(homepage: str) -> None:
    """OSError at once where no name can be resolved: TFDS itself tries for minutes."""
    import socket
    from urllib.parse import urlsplit

    for host in (urlsplit(homepage).hostname, "www.tensorflow.org"):
        with contextlib.suppress(OSError):
            socket.getaddrinfo(host, 443)
            return
    raise OSError("no network")
