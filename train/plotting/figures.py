"""matplotlib figures that are saved as PNG files and closed."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def figure(
    path: Path, rows: int, columns: int, size: tuple[float, float], projection: str | None = None,
    heights: Sequence[float] | None = None,
) -> Iterator[Any]:  # fmt: skip
    """A context with the axes of a new figure, in a flat array; at its end the figure is saved and closed.

    rows, columns: the numbers of rows and columns of the grid of axes. size: (width, height) in inches.
    projection: "3d" for points in space. heights: the ratios of the row heights.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    fig, axes = pyplot.subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False,
        subplot_kw={"projection": projection}, height_ratios=heights,
    )  # fmt: skip
    yield axes.ravel()
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=120)
    pyplot.close(fig)
