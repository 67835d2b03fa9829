"""Sheets of pictures, as PNG."""

import math
from pathlib import Path
from typing import Any

import numpy as np


def as_bytes(images: Any) -> np.ndarray:
    """An array of any shape with values in [-1, 1], and beyond it cut off -> uint8, rounded."""
    return np.clip((np.asarray(images) + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)


def save_grid(
    images: np.ndarray, path: Path, *, columns: int | None = None, scale: int = 2, gap: int = 2
) -> None:
    """(N, H, W, 1 or 3) uint8 -> one PNG, row by row, enlarged `scale` times; a square without `columns`."""
    from PIL import Image

    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 64, np.uint8)
    for index, image in enumerate(images):
        top, left = (
            gap + n * (size + gap) for n, size in zip(divmod(index, columns), (height, width), strict=True)
        )
        sheet[top : top + height, left : left + width] = image
    picture = Image.fromarray(sheet.squeeze(-1) if channels == 1 else sheet)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.resize((picture.width * scale, picture.height * scale), Image.Resampling.NEAREST).save(path)


def save_animations(folder: Path, seconds: float = 0.4) -> None:
    """NAME.gif of every series of pictures NAME_000100.png, NAME_000200.png ... in a folder, in their order.

    Every picture is shown so many seconds, the last one four times as long.
    """
    from PIL import Image

    series: dict[str, list[Path]] = {}
    for path in sorted(folder.glob("*_*.png")):
        series.setdefault(path.stem.rpartition("_")[0], []).append(path)
    for name, paths in series.items():
        first, *others = [Image.open(path).convert("RGB").quantize() for path in paths]
        if others:
            times = [int(1000 * seconds)] * len(others) + [int(4000 * seconds)]
            first.save(folder / f"{name}.gif", save_all=True, append_images=others, duration=times, loop=0)
