"""Samples and translations of trained generative models."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from train.backend import compiler_options
from train.data.sources import Data
from train.engine.evaluation.split import INFERENCE_BATCH_SIZE
from train.engine.trained import TrainedRun
from train.lookup import look_up
from train.plotting.grids import as_bytes, save_grid
from train.plotting.points import save_curve_bundle
from train.recipes import Capability
from train.tasks.contract import Sampler, Translator


@dataclass(frozen=True)
class Samples:
    """Samples of a run.

    examples: images (N, H, W, C) in [-1, 1], or rows (N, P). labels: the class (N,) of each example; None if
    the model takes no class.
    """

    examples: np.ndarray
    labels: np.ndarray | None = None

    def save(self, folder: Path, meta: Mapping[str, Any], *, files: bool = False) -> list[Path]:
        """Writes images as one grid, or each image as a file. Writes rows as a plot and a CSV table.

        meta: the metadata of the data set (class names, scale, ...), which a plot of curves needs.
        Returns the paths.
        """
        if self.examples.ndim == 2:
            save_curve_bundle(
                np.asarray(meta["places"]), self.examples, meta["bounds"], folder / "curves.png"
            )
            np.savetxt(folder / "curves.csv", self.examples, delimiter=",", fmt="%.6g")
            return [folder / "curves.png", folder / "curves.csv"]
        if files:
            return _save_files(self.examples, folder, "sample")
        order, rows = np.arange(len(self.examples)), 1
        if self.labels is not None:
            order, rows = np.argsort(self.labels, kind="stable"), len(np.unique(self.labels))
        fills_rows = rows > 1 and len(order) % rows == 0
        columns = len(order) // rows if fills_rows else None
        save_grid(as_bytes(self.examples[order]), folder / "samples.png", columns=columns)
        return [folder / "samples.png"]


def sample(
    run: TrainedRun, meta: Mapping[str, Any], *, count: int = 64, seed: int = 0, label: str | None = None,
    latents: np.ndarray | None = None,
) -> Samples:  # fmt: skip
    """Samples of a trained generator or decoder.

    meta: the metadata of the data set (class names, scale, ...). A model that takes a class needs "classes".
    latents: (N, ...) to decode. If they are not given, `count` latents are drawn from the seed. label: the
    name of the class. If it is not given, the classes are sampled in turn.
    Errors: ValueError for a model that does not sample, latents of any other size than the model's, an
    unknown class, and a model that has no distribution to draw latents from.
    """
    run.recipe.require_capability(Capability.SAMPLE, run.workdir)
    task = run.task
    assert isinstance(task, Sampler), "the recipe declares this capability"
    if latents is None:
        if count < 1:
            raise ValueError(f"count must be at least 1, got {count}")
        latents = np.asarray(task.draw_latents(jax.random.key(seed), count))
    needed = math.prod(task.latent_shape)
    if not len(latents) or latents[0].size != needed:
        given = latents[0].size if len(latents) else 0
        raise ValueError(f"a latent of {run.recipe.model} has {needed} numbers, got {given}")
    latents = latents.reshape(-1, *task.latent_shape)
    labels = None
    if task.labelled:
        classes = meta["classes"]
        labels = np.arange(len(latents)) % len(classes)
        if label is not None:
            labels[:] = look_up({name: n for n, name in enumerate(classes)}, label, "class")
    elif label is not None:
        raise ValueError(f"{run.recipe.model} takes no class: do not give a class")
    call = jax.jit(task.sample, compiler_options=compiler_options())
    parts = []
    for start in range(0, len(latents), INFERENCE_BATCH_SIZE):
        rows = slice(start, start + INFERENCE_BATCH_SIZE)
        part = call(
            run.state, jnp.asarray(latents[rows]), None if labels is None else jnp.asarray(labels[rows])
        )
        parts.append(np.asarray(part))
    return Samples(np.concatenate(parts), labels)


class Translations(NamedTuple):
    """Images of a domain, their translations, and the translations back: (N, H, W, C) in [-1, 1] each."""

    source: np.ndarray
    translated: np.ndarray
    back: np.ndarray


def translate(run: TrainedRun, data: Data, count: int) -> dict[str, Translations]:
    """The translations of the first `count` test images, in every direction.

    Errors: ValueError for a model that does not translate, and a count below 1.
    """
    run.recipe.require_capability(Capability.TRANSLATE, run.workdir)
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    task = run.task
    assert isinstance(task, Translator), "the recipe declares this capability"
    split: Any = data.train if data.test is None else data.test
    call = jax.jit(task.translate_and_back, static_argnums=2, compiler_options=compiler_options())
    found = {}
    for direction, (source, _) in task.directions.items():
        images = task.prepare_test({source: jnp.asarray(split[source][:count])})[source]
        parts = [
            (part, *call(run.state, part, direction))
            for start in range(0, len(images), INFERENCE_BATCH_SIZE)
            for part in (images[start : start + INFERENCE_BATCH_SIZE],)
        ]
        found[direction] = Translations(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    return found


def save_translations(
    translations: Mapping[str, Translations], folder: Path, *, files: bool = False
) -> list[Path]:
    """Writes a grid of three rows per direction, or each translation as a file. Returns the paths."""
    paths = []
    for direction, parts in translations.items():
        if files:
            paths += _save_files(parts.translated, folder, direction)
        else:
            paths.append(folder / f"{direction}.png")
            save_grid(as_bytes(np.concatenate(parts)), paths[-1], columns=len(parts.source))
    return paths


def _save_files(images: np.ndarray, folder: Path, name: str) -> list[Path]:
    width = len(str(len(images) - 1))
    paths = [folder / f"{name}_{number:0{width}d}.png" for number in range(len(images))]
    for path, image in zip(paths, as_bytes(images), strict=True):
        save_grid(image[None], path, scale=1, gap=0)
    return paths


def parse_latents(texts: tuple[str, ...]) -> np.ndarray | None:
    """The latents (N, F) float32 in texts such as ("0.5,-1", "1,0"); None if there are none.

    Errors: ValueError for texts that are not numbers, or that have different lengths.
    """
    if not texts:
        return None
    try:
        rows = [[float(number) for number in text.split(",")] for text in texts]
    except ValueError:
        given = " ".join(texts)
        raise ValueError(f"--latents takes numbers with commas between them, got {given!r}") from None
    if len({len(row) for row in rows}) > 1:
        lengths = ", ".join(str(len(row)) for row in rows)
        raise ValueError(f"all --latents must have the same number of values, got {lengths}")
    return np.array(rows, np.float32)
