"""Plots of metrics over the steps of one run or of several."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from train.plotting.figures import figure

FRACTIONS = ("accuracy", "exact", "error_rate")  # the ends of the names of metrics from 0 to 1


def save_curves(records: Sequence[Mapping[str, float]], names: Sequence[str], path: Path, title: str) -> None:
    """Plots these metrics of the records over the steps, with the fractions in a separate plot."""
    groups = [[n for n in names if n.endswith(FRACTIONS)], [n for n in names if not n.endswith(FRACTIONS)]]
    groups = [group for group in reversed(groups) if group]
    with figure(path, 1, len(groups), (7 * len(groups), 4)) as axes:
        for ax, group in zip(axes, groups, strict=True):
            draw_curves(ax, records, group)
            ax.set(title=title)


def draw_curves(ax: Any, records: Sequence[Mapping[str, float]], names: Iterable[str]) -> None:
    """Draws these metrics over the steps into the matplotlib axes `ax`."""
    for name in names:
        points = [(record["step"], record[name]) for record in records if name in record]
        ax.plot(*zip(*points, strict=True), label=name.replace("_", " "), lw=1.2)
    ax.set(xlabel="step")
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def save_comparison(
    runs: Sequence[tuple[str, Sequence[Mapping[str, float]], Path | None]], path: Path
) -> None:
    """Plots runs side by side: the losses of each run, and below them its last grid of images.

    runs: (title, metrics records, the PNG of the grid or None) of each run.
    """
    import matplotlib.image

    with figure(path, 2, len(runs), (6 * len(runs), 9), heights=(2, 5)) as axes:
        curve_axes, grid_axes = axes[: len(runs)], axes[len(runs) :]
        for curve_ax, grid_ax, (title, records, grid) in zip(curve_axes, grid_axes, runs, strict=True):
            losses = (name for record in records for name in record if name.endswith("loss"))
            draw_curves(curve_ax, records, dict.fromkeys(losses))
            curve_ax.set_title(title, fontsize=9)
            grid_ax.axis("off")
            if grid is not None:
                grid_ax.imshow(matplotlib.image.imread(grid), cmap="gray")
