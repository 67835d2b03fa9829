"""Grids of images, as PNG."""

import math
from pathlib import Path
from typing import Any

import numpy as np


def as_bytes(images: Any) -> np.ndarray:
    """uint8 values of an array of any shape in [-1, 1]; values beyond the range are clipped."""
    return np.clip((np.asarray(images) + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)


def save_grid(
    images: np.ndarray, path: Path, *, columns: int | None = None, scale: int = 2, gap: int = 2
) -> None:
    """Writes images (N, H, W, 1 or 3) in uint8 as one PNG, row by row, enlarged `scale` times.

    columns: images per row; None makes the grid a square. gap: pixels between images.
    """
    from PIL import Image

    count, height, width, channels = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    grid = np.full((rows * (height + gap) + gap, columns * (width + gap) + gap, channels), 64, np.uint8)
    for index, image in enumerate(images):
        row, column = divmod(index, columns)
        top, left = gap + row * (height + gap), gap + column * (width + gap)
        grid[top : top + height, left : left + width] = image
    image = Image.fromarray(grid.squeeze(-1) if channels == 1 else grid)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST).save(path)
