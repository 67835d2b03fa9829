"""Figures of matplotlib: made, saved as PNG and closed."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def figure(
    path: Path, rows: int, columns: int, size: tuple[float, float], projection: str | None = None,
    heights: Sequence[float] | None = None,
) -> Iterator[Any]:  # fmt: skip
    """The axes of a new figure of so many rows and columns, in a flat array; size in inches.

    projection: matplotlib's, "3d" for points in space. heights: of the rows, one to another. Saved as PNG
    and closed afterwards.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    page, axes = pyplot.subplots(
        rows, columns, figsize=size, layout="constrained", squeeze=False,
        subplot_kw={"projection": projection}, height_ratios=heights,
    )  # fmt: skip
    yield axes.ravel()
    path.parent.mkdir(parents=True, exist_ok=True)
    page.savefig(path, dpi=120)
    pyplot.close(page)
