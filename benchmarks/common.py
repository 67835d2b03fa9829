"""What every benchmark shares: inputs and blocking calls of both sides, the device, and the tables."""

import dataclasses
import json
import platform
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
import torch

from convert.certificate.calls import as_dtype, to_torch_input


def float32(array: np.ndarray) -> np.ndarray:
    """Floats as float32; integers as they are."""
    return as_dtype(array, np.float32)


def torch_device() -> str:
    """Where torch runs: on the kind of device that JAX runs on."""
    return "cpu" if jax.default_backend() == "cpu" else "cuda"


def device_name() -> str:
    device = jax.devices()[0]
    if device.platform == "cpu":
        return f"{torch.get_num_threads()} {platform.machine()} threads"
    return device.device_kind


def torch_tensor(array: np.ndarray, device: str) -> torch.Tensor:
    """An input in torch's shape and in torch's default order in memory, channels first."""
    return to_torch_input(array).contiguous().to(device)


def on_jax(function: Callable[..., Any], *args: Any) -> Callable[[], object]:
    """A call that returns when its result is there."""
    return lambda: jax.block_until_ready(function(*args))


def on_torch(function: Callable[..., Any], *args: Any, device: str) -> Callable[[], object]:
    """A call that returns when the device has done its work."""

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
    """One line of a Markdown table; ratios with two digits."""
    texts = (f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in cells)
    return f"| {' | '.join(texts)} |"


def write_json(rows: Sequence[Any], path: Path) -> None:
    """Rows, dataclasses with a `ratio`, as a JSON list; a timing is [median, low, high]."""
    table = [{**dataclasses.asdict(row), "ratio": row.ratio} for row in rows]
    path.write_text(json.dumps(table, indent=2) + "\n")
