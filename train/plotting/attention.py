"""Plots of the attention of a network that reads one sequence and writes another."""

import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from train.plotting.figures import figure


class Attention(NamedTuple):
    """What a network read (S symbols), what it wrote (T symbols), and its weights (T, S)."""

    read: Sequence[str]
    written: Sequence[str]
    weights: np.ndarray


def save_attention(examples: Sequence[Attention], path: Path) -> None:
    """Plots the weights of every example: a row for each written symbol, a column for each read one."""
    columns = min(2, len(examples))
    rows = math.ceil(len(examples) / columns)
    width = 1.5 + 0.22 * max(len(example.read) for example in examples)
    height = 1 + 0.22 * max(1, *(len(example.written) for example in examples))
    with warnings.catch_warnings():
        # matplotlib's font does not have the characters of all languages; it draws boxes for them.
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        warnings.filterwarnings("ignore", "Matplotlib currently does not support .* natively")
        with figure(path, rows, columns, (columns * width, rows * height)) as axes:
            for ax, example in zip(axes, examples, strict=False):
                if len(example.written):
                    ax.imshow(example.weights, cmap="Blues", vmin=0, vmax=1, aspect="auto")
                ax.set_xticks(range(len(example.read)), example.read)
                ax.set_yticks(range(len(example.written)), example.written)
            for ax in axes[len(examples) :]:
                ax.axis("off")
