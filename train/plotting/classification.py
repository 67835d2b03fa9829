"""The plots of a classifier's predictions: the confusion matrix, and images with their predictions."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from train.plotting.figures import figure

TITLE_COLOURS = {True: "tab:green", False: "tab:red", None: "black"}


def save_confusion(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Plots counts (C, C), actual class by predicted class, with the numbers for up to 20 classes."""
    size = max(5, 0.45 * len(classes))
    with figure(path, 1, 1, (size, size)) as (ax,):
        ax.imshow(counts, cmap="Blues")
        ticks = range(len(classes))
        ax.set_xticks(ticks, classes, rotation=90 if max(map(len, classes)) > 2 else 0)
        ax.set_yticks(ticks, classes)
        ax.set(xlabel="predicted", ylabel="actual")
        if len(classes) <= 20:
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    shade = "white" if count > counts.max() / 2 else "black"
                    ax.text(column, row, int(count), ha="center", va="center", color=shade)


def save_predictions(
    images: np.ndarray, titles: Sequence[tuple[str, bool | None]], path: Path, *, columns: int = 8,
    cell: tuple[float, float] = (1.35, 1.55),
) -> None:  # fmt: skip
    """Plots images (N, H, W, 1 or 3) uint8 with their titles.

    titles: (title, whether the prediction is correct) of each image; correct titles are green, wrong ones
    red, and black if it is not known. columns: images per row, at most. cell: (width, height) in inches of an
    image with its title.
    """
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    with figure(path, rows, columns, (cell[0] * columns, cell[1] * rows)) as axes:
        for ax in axes:
            ax.axis("off")
        for ax, image, (title, correct) in zip(axes, images, titles, strict=False):
            ax.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
            ax.set_title(title, fontsize=7, color=TITLE_COLOURS[correct])
