"""Reads data sets from TFDS's ArrayRecord files.

An embedded set is prepared on first use; an upstream set is downloaded by TFDS. Reading needs no TensorFlow:
`as_data_source` deserialises without it, and PIL decodes the images here. Only preparing an upstream set
needs TensorFlow; the extra `[tfds]` installs it.
"""

import contextlib
import importlib
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from PIL import Image

from train.data.datasets import Dataset, ReadRequest, find_dataset
from train.data.images import ImageSource, open_image, to_pil_image
from train.data.sources import Data, read_source


@dataclass(frozen=True)
class Records(ImageSource):
    """One split of a prepared set. Each process opens the files itself.

    directory: the directory of the prepared set. split: a slice in TFDS's notation.
    """

    directory: str
    split: str

    @cached_property
    def _records(self) -> Any:
        import tensorflow_datasets as tfds

        with _quiet_tfds():
            builder: Any = tfds.builder_from_directory(self.directory)  # Any: its methods lose their types
            encoded = isinstance(builder.info.features["image"], tfds.features.Image)
            decoders = {"image": tfds.decode.SkipDecoding()} if encoded else None
            return builder.as_data_source(self.split, decoders=decoders)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_records"}

    def __len__(self) -> int:
        return len(self._records)

    def load_image(self, index: int) -> tuple[Image.Image, int]:
        record = self._records[index]
        image = record["image"]
        image = open_image(io.BytesIO(image)) if isinstance(image, bytes) else to_pil_image(image)
        return image, int(record["label"])


def read_records(request: ReadRequest) -> Data:
    """The splits of a set that has a builder: arrays if its images have one shape, sources otherwise.

    Errors: ValueError for a set that is not prepared and cannot be prepared; the message says what to
    install, or which embedded set to use.
    """
    name, data_dir = request.name, request.data_dir
    dataset = find_dataset(name)
    with _quiet_tfds():
        if dataset.is_embedded:
            builder = _embedded_builder(dataset, request.argument, data_dir)
        else:
            builder = _upstream_builder(name, dataset, data_dir)
    sources = [
        Records(shape=dataset.shape, fit="resize", directory=str(builder.data_path), split=split)
        for split in dataset.splits
    ]
    train, test = [read_source(source, len(source)) for source in sources] if dataset.shape else sources
    return Data(train, test, {"classes": list(dataset.classes)})


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """A context in which TFDS neither prints, nor logs, nor shows progress bars."""
    import logging

    import tensorflow_datasets as tfds  # takes over a second, so it is imported when data is read

    tfds.display_progress_bar(False)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    loggers = [logging.getLogger(name) for name in ("absl", "urllib3")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with open(os.devnull, "w") as devnull, contextlib.redirect_stdout(devnull):
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _embedded_builder(dataset: Dataset, argument: str, data_dir: Path) -> Any:
    module, cls = dataset.builder.split(":")
    options = {"data_dir": data_dir, "file_format": "array_record"}
    options |= {"config": argument} if argument else {}
    build = getattr(importlib.import_module(module), cls)
    builder = build(**options)
    try:
        builder.download_and_prepare()
    except OSError as error:
        if not builder.is_prepared():
            raise ValueError(f"cannot prepare {builder.name} in {data_dir}: {error}") from None
        builder = build(**options)  # another process has prepared the same files meanwhile
    return builder


def _upstream_builder(name: str, dataset: Dataset, data_dir: Path) -> Any:
    import tensorflow_datasets as tfds

    advice = f"use the embedded set: --dataset {dataset.embedded}" if dataset.embedded else "see --list"
    prepared = sorted((Path(data_dir) / dataset.builder).glob("**/dataset_info.json"))
    if prepared:  # its metadata describe it, so TensorFlow is not needed
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
    except Exception as error:  # TFDS raises network errors of many types
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise ValueError(
            f"cannot download {name} into {data_dir} ({reason}): try again, or {advice}"
        ) from None


def _check_network(homepage: str) -> None:
    """Raises OSError at once if no host name can be resolved; TFDS itself would retry for minutes."""
    import socket
    from urllib.parse import urlsplit

    for host in (urlsplit(homepage).hostname, "www.tensorflow.org"):
        with contextlib.suppress(OSError):
            socket.getaddrinfo(host, 443)
            return
    raise OSError("no network")
