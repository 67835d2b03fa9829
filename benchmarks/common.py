"""What all benchmarks share: inputs and blocking calls of both frameworks, the device, and the tables."""

import dataclasses
import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from convert.certificate.calls import to_torch_input
from train.engine.run_folders import write_json


def torch_device() -> str:
    """torch's name for the kind of device that JAX runs on: "cpu" or "cuda"."""
    return "cpu" if jax.default_backend() == "cpu" else "cuda"


def device_name() -> str:
    """What the tables call the device, such as "2 x86_64 threads"."""
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"{torch.get_num_threads()} {platform.machine()} threads"
    return device.device_kind


def torch_tensor(array: np.ndarray, device: str) -> torch.Tensor:
    """An input with torch's shape and default memory order: channels first."""
    return to_torch_input(array).contiguous().to(device)


def on_jax(function: Callable[..., Any], *args: Any) -> Callable[[], object]:
    """A call of `function` that returns when its result is computed."""
    return lambda: jax.block_until_ready(function(*args))


def on_torch(function: Callable[..., Any], *args: Any, device: str) -> Callable[[], object]:
    """A call of `function` that returns when the device has finished its work."""

    def call() -> object:
        result = function(*args)
        if device != "cpu":
            torch.cuda.synchronize()
        return result

    return call


def table_head(columns: Sequence[str]) -> str:
    """The first two lines of a Markdown table."""
    return f"{table_line(columns)}\n|{'---|' * len(columns)}"


def table_line(cells: Iterable[Any]) -> str:
    """One line of a Markdown table; floats, the ratios, have two decimals."""
    texts = (f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells)
    return f"| {' | '.join(texts)} |"


def write_rows(rows: Sequence[Any], path: Path) -> None:
    """Writes rows, dataclasses with a `ratio`, as a JSON list; a timing is [median, low, high]."""
    table = [{**dataclasses.asdict(row), "ratio": row.ratio} for row in rows]
    write_json(path, table)
