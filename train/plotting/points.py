"""Plots of data and of a model's outputs for them: fits, decision boundaries, latents, curves and series."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from train.plotting.figures import figure


def save_fit(x: np.ndarray, y: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """Plots points (x, y) and the curve of the predictions at x; all are (N,)."""
    order = np.argsort(x)
    with figure(path, 1, 1, (6, 4)) as (ax,):
        ax.scatter(x, y, s=18, label="data")
        ax.plot(x[order], predicted[order], "C1", label="model")
        ax.set(xlabel="x", ylabel="y")
        ax.legend(frameon=False)


def save_scatter(target: np.ndarray, predicted: np.ndarray, path: Path) -> None:
    """Plots predictions over targets, both (N,), and the line where they are equal."""
    with figure(path, 1, 1, (5, 5)) as (ax,):
        ax.scatter(target, predicted, s=8)
        ax.axline((0, 0), slope=1, color="C1")
        ax.set(xlabel="target", ylabel="model")


def save_boundary(
    x: np.ndarray, label: np.ndarray, decide: Callable[[np.ndarray], np.ndarray], path: Path,
    names: Sequence[str],
) -> None:  # fmt: skip
    """Plots points (N, 2), coloured by their labels (N,) of 0 or 1, and the decision boundary.

    decide: the probability (M,) of class 1 at points (M, 2); the boundary is where it is 0.5. names: the
    names of both coordinates.
    """
    low, high = x.min(0), x.max(0)
    margin = 0.1 * (high - low)
    grids = np.meshgrid(*(np.linspace(a - m, b + m, 200) for a, b, m in zip(low, high, margin, strict=True)))
    values = decide(np.stack([grid.ravel() for grid in grids], axis=1).astype(x.dtype))
    with figure(path, 1, 1, (6, 5)) as (ax,):
        values = values.reshape(grids[0].shape)
        ax.contourf(*grids, values, levels=np.linspace(0, 1, 11), cmap="coolwarm", alpha=0.4)
        ax.contour(*grids, values, levels=[0.5], colors="k")
        ax.scatter(*x.T, c=label, cmap="coolwarm", edgecolors="k", s=25)
        ax.set(xlabel=names[0], ylabel=names[1])


def save_latents(latents: np.ndarray, labels: np.ndarray, classes: Sequence[str], path: Path) -> None:
    """Plots latents (N, 2) or (N, 3), coloured by class. labels: (N,), the indices into `classes`."""
    with figure(path, 1, 1, (7, 6), "3d" if latents.shape[1] == 3 else None) as (ax,):
        for number, name in enumerate(classes):
            ax.scatter(*latents[labels == number].T, color=f"C{number}", s=10, label=name)
        ax.set(**{f"{axis}label": f"latent {n}" for n, axis in enumerate("xyz"[: latents.shape[1]])})
        if len(classes) <= 20:
            ax.figure.legend(frameon=False, loc="outside right center", markerscale=2)


def save_curve_bundle(positions: np.ndarray, curves: np.ndarray, bounds: Any, path: Path) -> None:
    """Plots curves (N, P) over their positions (P,), and their lower and upper bounds (2, P)."""
    with figure(path, 1, 1, (7, 4.5)) as (ax,):
        ax.fill_between(positions, *bounds, color="0.9")
        ax.plot(positions, curves.T, color="C0", alpha=0.35, lw=1)
        for bound, name in zip(bounds, ("lower bound", "upper bound"), strict=True):
            ax.plot(positions, bound, "--", lw=2, label=name)
        ax.legend(frameon=False)


def save_forecast(
    series: np.ndarray, predicted: np.ndarray, ahead: np.ndarray, held: int, path: Path, name: str
) -> None:
    """Plots a series (T,), the predictions of its last values, and a forecast of the values after it.

    ahead: the forecast (S,); S may be 0. held: the index of the first value that is not used for training.
    name: the name of the values.
    """
    steps = len(series)
    with figure(path, 1, 1, (9, 4)) as (ax,):
        ax.axvspan(held - 0.5, steps - 0.5, color="0.93", label="held out")
        ax.plot(series, "C0", label="real", lw=1.5)
        ax.plot(np.arange(steps - len(predicted), steps), predicted, "C1", label="predicted", lw=1.5)
        if len(ahead):
            joined = np.concatenate([series[-1:], ahead])
            ax.plot(np.arange(steps - 1, steps + len(ahead)), joined, "C2--", label="forecast", lw=1.5)
        ax.set(xlabel="step", ylabel=name)
        ax.legend(frameon=False)
