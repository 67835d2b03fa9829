"""Plots of a run, each one PNG: curves, fits, decision boundaries, confusions, predictions."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

METRICS = ("loss", "accuracy", "perplexity")


def is_metric(name: str) -> bool:
    """Whether a field of a metrics record is a measure of the training."""
    return name.endswith(METRICS)


def save_curves(records: Sequence[Mapping[str, float]], path: Path, title: str) -> None:
    """Every measure of the metrics records over the steps; accuracies on an axis of their own."""
    names = measures(records)
    groups = [[n for n in names if n.endswith("accuracy")], [n for n in names if not n.endswith("accuracy")]]
    groups = [group for group in reversed(groups) if group]
    with figure(path, 1, len(groups), (7 * len(groups), 4)) as axes:
        for place, group in zip(axes, groups, strict=True):
            draw_curves(place, records, group)
            place.set(title=title)


def measures(records: Sequence[Mapping[str, float]]) -> list[str]:
    """The measures in the records, each once."""
    return list(dict.fromkeys(name for record in records for name in record if is_metric(name)))


def draw_curves(axes: Any, records: Sequence[Mapping[str, float]], names: Sequence[str]) -> None:
    """These measures over the steps."""
    for name in names:
        points = [(record["step"], record[name]) for record in records if name in record]
        axes.plot(*zip(*points, strict=True), label=name.replace("_", " "), lw=1.2)
    axes.set(xlabel="step")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)


def save_comparison(
    runs: Sequence[tuple[str, Sequence[Mapping[str, float]], Path | None]], path: Path
) -> None:
    """Runs side by side: under the title of each its losses, and below them its last sheet of pictures.

    runs: (title, metrics records, PNG or None) of each.
    """
    import matplotlib.image

    with figure(path, 2, len(runs), (6 * len(runs), 9), heights=(2, 5)) as axes:
        curves, sheets = axes[: len(runs)], axes[len(runs) :]
        for place, below, (title, records, sheet) in zip(curves, sheets, runs, strict=True):
            draw_curves(place, records, [name for name in measures(records) if name.endswith("loss")])
            place.set_title(title, fontsize=9)
            below.axis("off")
            if sheet is not None:
                below.imshow(matplotlib.image.imread(sheet), cmap="gray")


def save_fit(x: np.ndarray, y: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """Points and the curve through the predictions; all (N,)."""
    order = np.argsort(x)
    with figure(path, 1, 1, (6, 4)) as (axes,):
        axes.scatter(x, y, s=18, label="data")
        axes.plot(x[order], predicted[order], "C1", label="model")
        axes.set(xlabel="x", ylabel="y")
        axes.legend(frameon=False)


def save_scatter(target: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """Predictions over targets, both (N,), and the line on which they are equal."""
    with figure(path, 1, 1, (5, 5)) as (axes,):
        axes.scatter(target, predicted, s=8)
        axes.axline((0, 0), slope=1, color="C1")
        axes.set(xlabel="target", ylabel="model")


def save_boundary(
    x: np.ndarray, label: np.ndarray, decide: Callable[[np.ndarray], np.ndarray], path: Path,
    names: Sequence[str],
) -> None:  # fmt: skip
    """Points of the plane (N, 2), labels (N,) 0 or 1, and where `decide`, a probability, is 0.5."""
    low, high = x.min(0), x.max(0)
    margin = 0.1 * (high - low)
    grids = np.meshgrid(*(np.linspace(a - m, b + m, 200) for a, b, m in zip(low, high, margin, strict=True)))
    values = decide(np.stack([grid.ravel() for grid in grids], axis=1).astype(x.dtype))
    with figure(path, 1, 1, (6, 5)) as (axes,):
        values = values.reshape(grids[0].shape)
        axes.contourf(*grids, values, levels=np.linspace(0, 1, 11), cmap="coolwarm", alpha=0.4)
        axes.contour(*grids, values, levels=[0.5], colors="k")
        axes.scatter(*x.T, c=label, cmap="coolwarm", edgecolors="k", s=25)
        axes.set(xlabel=names[0], ylabel=names[1])


def save_confusion(counts: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Counts (C, C), actual class by predicted class, the numbers written where they are few."""
    size = max(5, 0.45 * len(classes))
    with figure(path, 1, 1, (size, size)) as (axes,):
        axes.imshow(counts, cmap="Blues")
        ticks = range(len(classes))
        axes.set_xticks(ticks, classes, rotation=90 if max(map(len, classes)) > 2 else 0)
        axes.set_yticks(ticks, classes)
        axes.set(xlabel="predicted", ylabel="actual")
        if len(classes) <= 20:
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    shade = "white" if count > counts.max() / 2 else "black"
                    axes.text(column, row, int(count), ha="center", va="center", color=shade)


def save_predictions(images: np.ndarray, titles: Sequence[tuple[str, bool]], path: Path) -> None:
    """(N, H, W, 1 or 3) uint8, each below its title, which is green where right and red where wrong."""
    columns = min(8, len(images))
    rows = math.ceil(len(images) / columns)
    with figure(path, rows, columns, (1.35 * columns, 1.55 * rows)) as axes:
        for place in axes:
            place.axis("off")
        for place, image, (title, right) in zip(axes, images, titles, strict=False):
            place.imshow(image.squeeze(-1) if image.shape[-1] == 1 else image, cmap="gray", vmin=0, vmax=255)
            place.set_title(title, fontsize=7, color="tab:green" if right else "tab:red")


def save_codes(codes: np.ndarray, labels: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Codes (N, 2) or (N, 3) as points, coloured by class; labels (N,) are numbers of the classes."""
    deep = codes.shape[1] == 3
    with figure(path, 1, 1, (7, 6), "3d" if deep else None) as (axes,):
        for number, name in enumerate(classes):
            axes.scatter(*codes[labels == number].T, color=f"C{number}", s=10, label=name)
        axes.set(**{f"{axis}label": f"code {n}" for n, axis in enumerate("xyz"[: codes.shape[1]])})
        if len(classes) <= 20:
            axes.figure.legend(frameon=False, loc="outside right center", markerscale=2)


def save_curve_bundle(places: np.ndarray, curves: np.ndarray, bounds: Any, path: Path) -> None:
    """Curves (N, P) over their places (P,), and the two (2, P) between which they should run."""
    with figure(path, 1, 1, (7, 4.5)) as (axes,):
        axes.fill_between(places, *bounds, color="0.9")
        axes.plot(places, curves.T, color="C0", alpha=0.35, lw=1)
        for bound, name in zip(bounds, ("lower bound", "upper bound"), strict=True):
            axes.plot(places, bound, "--", lw=2, label=name)
        axes.legend(frameon=False)


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
