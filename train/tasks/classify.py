"""Classification: cross-entropy on logits, NLL on log-probabilities, or BCE on one probability."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from train.data.images import read_images
from train.data.sources import Data
from train.plotting.classification import save_predictions
from train.plotting.points import save_boundary
from train.recipes import image_shape
from train.tasks.contract import Answer, Batch, PathOf
from train.tasks.losses.supervised import class_probabilities, predicted_class
from train.tasks.state import TrainState
from train.tasks.supervised import SupervisedTask, targets_of

FILES_PER_CALL = 64  # images that are read before the model classifies them
NUM_SHOWN = 40  # images on the page


class Task(SupervisedTask):
    """Reports the accuracy; for points of the plane it plots the decision boundary."""

    reports_accuracy = True

    def classify(self, state: TrainState, batch: Batch) -> jax.Array:
        """The predicted classes (N,) int of a prepared batch."""
        return predicted_class(self.predict(state, batch)).astype(int)

    def labels(self, batch: Batch) -> jax.Array:
        """The true classes (N,) of a batch."""
        return targets_of(batch).reshape(-1)

    def answer(self, state: TrainState, meta: Mapping[str, Any], **question: Any) -> Answer:
        """The most probable classes of image files, with their probabilities.

        files: the names of the files. top: how many classes to give per image, 5 by default. The answer
        saves predictions.json and a page of the first images, predictions.png.
        Errors: ValueError for a run that was not trained on images, for a `top` below 1, and for a file that
        is not a readable image.
        """
        files, top = [str(file) for file in question["files"]], question.get("top", 5)
        if top < 1:
            raise ValueError(f"top must be at least 1, got {top}")
        shown, probabilities = self._classify_files(state, self._shape_of_files(meta), files)
        names = meta.get("classes") or [str(number) for number in range(probabilities.shape[1])]
        best = [
            [(names[i], float(row[i])) for i in np.argsort(-row, kind="stable")[:top]]
            for row in probabilities
        ]
        return Answer(
            columns=("image", "class", "probability"),
            rows=[
                (file if place == 0 else "", name, f"{probability:.4f}")
                for file, classes in zip(files, best, strict=True)
                for place, (name, probability) in enumerate(classes)
            ],
            values=list(zip(files, best, strict=True)),
            note=f"the page has the first {NUM_SHOWN} images" if len(files) > NUM_SHOWN else "",
            save=lambda folder: _save_predictions(folder, files, shown, best),
        )

    def _shape_of_files(self, meta: Mapping[str, Any]) -> tuple[int, int, int]:
        """(H, W, C) to which image files are resized."""
        shape = image_shape(self.recipe) or meta.get("image_shape")
        if shape is None:
            raise ValueError(f"{self.recipe.model} was not trained on images")
        if self.recipe.preprocess:
            steps = ", ".join(self.recipe.preprocess)
            raise ValueError(
                f"the preprocessing {steps} was fitted in training, and cannot be applied to files"
            )
        height, width, channels = shape
        if channels not in (1, 3):
            raise ValueError(f"the model takes images of {channels} channels, and files have 1 or 3")
        return height, width, channels

    def _classify_files(
        self, state: TrainState, shape: tuple[int, int, int], files: Sequence[str]
    ) -> tuple[np.ndarray, np.ndarray]:
        """(the first images (NUM_SHOWN, H, W, C) uint8, the probabilities of all images (N, C))."""

        @jax.jit
        def call(state: TrainState, images: jax.Array) -> jax.Array:
            outputs = self.predict(state, self.prepare_test({"image": images}))
            return class_probabilities(outputs, self.recipe.loss)

        shown, probabilities = np.empty((0, *shape), np.uint8), []
        for start in range(0, len(files), FILES_PER_CALL):
            images = read_images(files[start : start + FILES_PER_CALL], shape, self.recipe.image_settings.fit)
            shown = images[:NUM_SHOWN] if start == 0 else shown
            probabilities.append(np.asarray(call(state, images)))
        return shown, np.concatenate(probabilities)

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        if not isinstance(data.train, dict) or "x" not in data.train:
            return
        x, y = data.train["x"], data.train["y"]
        if x.shape[1:] != (2,) or y.shape[1:] != (1,):
            return

        def probability(points: np.ndarray) -> np.ndarray:
            return np.asarray(jax.jit(self.predict)(state, {"x": points}))[:, 0]

        names = data.meta.get("columns", ("x1", "x2"))
        save_boundary(x, y[:, 0], probability, path_of("boundary"), names)


def _save_predictions(
    folder: Path, files: Sequence[str], shown: np.ndarray, best: Sequence[Sequence[tuple[str, float]]]
) -> list[str]:
    """Writes the classes of all files, and the page of the shown ones; returns the names of both."""
    values = [
        {"image": file, "classes": [{"class": name, "probability": p} for name, p in classes]}
        for file, classes in zip(files, best, strict=True)
    ]
    (folder / "predictions.json").write_text(json.dumps(values, indent=2) + "\n")
    titles = [
        (f"{Path(file).name}\n{classes[0][0]} {classes[0][1]:.2f}", None)
        for file, classes in zip(files, best, strict=True)
    ]
    save_predictions(shown, titles[: len(shown)], folder / "predictions.png")
    return ["predictions.json", "predictions.png"]
