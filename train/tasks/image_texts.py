"""What the tasks share that write a text for an image: the answer to a user, and the page of images."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from train.plotting.classification import save_predictions
from train.tasks.contract import Answer

NUM_SHOWN = 12  # images on the page that is saved in training

Alternatives = Sequence[tuple[str, float]]
"""Texts with their log-probabilities, the most probable one first."""


class Page(NamedTuple):
    """How a page of images looks: the name of its file, images per row, inches of an image with its title."""

    file: str
    columns: int
    cell: tuple[float, float]

    def save(self, images: np.ndarray, texts: Sequence[str], truths: Sequence[str], path: Path) -> None:
        """Plots images (N, H, W, C) uint8 with their texts. truths: the true texts; () if unknown."""
        titles: list[tuple[str, bool | None]] = [(text, None) for text in texts]
        if truths:
            pairs = zip(texts, truths, strict=True)
            titles = [(text if text == true else f"{text}\nnot {true}", text == true) for text, true in pairs]
        save_predictions(images, titles, path, columns=self.columns, cell=self.cell)


def answer_with_texts(
    names: Sequence[str], images: np.ndarray, found: Sequence[Alternatives], truths: Sequence[str], page: Page
) -> Answer:
    """The answer that lists the texts of each image and saves the page.

    names: (N,), of the images. images: (N, H, W, C) uint8. truths: the true texts; () if they are unknown.
    """
    rows = []
    for index, (name, alternatives) in enumerate(zip(names, found, strict=True)):
        for rank, (text, score) in enumerate(alternatives):
            first = rank == 0
            true = [truths[index] if first else ""] if truths else []
            rows.append((name if first else "", text, f"{np.exp(score):.4f}", *true))

    def save(folder: Path) -> list[str]:
        page.save(images, [one[0][0] for one in found], truths, folder / page.file)
        return [page.file]

    return Answer(
        columns=("image", "text", "probability", *(("true text",) if truths else ())),
        rows=rows,
        values=list(zip(names, map(list, found), strict=True)),
        save=save,
    )
