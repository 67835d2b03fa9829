"""Sheets of pictures, as PNG."""

import math
from pathlib import Path

import numpy as np


def save_grid(
    images: np.ndarray, path: Path, *, columns: int | None = None, scale: int = 2, gap: int = 2
) -> None:
    """(N, H, W, 1 or 3) uint8 -> one PNG, row by row, enlarged `scale` times; near-square without `columns`."""
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
