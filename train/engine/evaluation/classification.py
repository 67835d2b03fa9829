"""The evaluation of a classifier: accuracy, confusion matrix, and a page of images."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from train.data.sources import Arrays, Data, Source, split_batches, take_rows
from train.engine.evaluation.report import Metric
from train.engine.evaluation.split import INFERENCE_BATCH_SIZE, evaluated_split
from train.engine.run_folders import write_json
from train.plotting.classification import save_confusion, save_predictions
from train.tasks.contract import Classifier
from train.tasks.state import TrainState

NUM_SHOWN = 40  # images on the page; wrong predictions come first, on at most half of it


@dataclass(frozen=True)
class ClassificationReport:
    """The predictions of a classifier for a split.

    split_name, examples: the name and the examples of the evaluated split. loss: the mean over the examples.
    predicted, actual: (N,) class numbers.
    """

    split_name: str
    examples: Arrays | Source
    classes: tuple[str, ...]
    loss: float
    predicted: np.ndarray
    actual: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """The confusion matrix (C, C): actual class by predicted class."""
        size = len(self.classes)
        return np.bincount(self.actual * size + self.predicted, minlength=size * size).reshape(size, size)

    @property
    def accuracy(self) -> float:
        """The fraction of the examples whose predicted class is the actual one."""
        return float((self.predicted == self.actual).mean())

    @property
    def class_accuracies(self) -> dict[str, float | None]:
        """The accuracy for the examples of each class; None for a class without examples."""
        totals, correct = self.counts.sum(1), self.counts.diagonal()
        return {
            name: float(c / n) if n else None
            for name, c, n in zip(self.classes, correct, totals, strict=True)
        }

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {f"{self.split_name} accuracy": Metric(self.accuracy)}

    def to_json(self) -> dict[str, Any]:
        """The report as plain values."""
        return {
            "split": self.split_name, "examples": len(self.actual), "loss": self.loss,
            "accuracy": self.accuracy, "class_accuracies": self.class_accuracies,
            "classes": list(self.classes), "confusion": self.counts.tolist(),
        }  # fmt: skip

    def write(self, folder: Path) -> list[str]:
        """Writes evaluation.json, confusion.png, and for images predictions.png; returns the file names."""
        write_json(folder / "evaluation.json", self.to_json())
        save_confusion(self.counts, self.classes, folder / "confusion.png")
        shown = self._shown_rows()
        rows = take_rows(self.examples, shown)
        if "image" not in rows:
            return ["evaluation.json", "confusion.png"]
        names = [(self.classes[self.predicted[i]], self.classes[self.actual[i]]) for i in shown]
        titles = [(p if p == a else f"{p}\nnot {a}", p == a) for p, a in names]
        images = rows["image"]
        images = images if images.dtype == np.uint8 else np.clip(255 * images, 0, 255).astype(np.uint8)
        save_predictions(images, titles, folder / "predictions.png")
        return ["evaluation.json", "confusion.png", "predictions.png"]

    def _shown_rows(self) -> np.ndarray:
        """The positions of the shown examples: wrong predictions (at most half), then correct ones."""
        wrong = np.flatnonzero(self.predicted != self.actual)[: NUM_SHOWN // 2]
        correct = np.flatnonzero(self.predicted == self.actual)[: NUM_SHOWN - len(wrong)]
        return np.concatenate([wrong, correct])

    def show(self) -> str:
        """The report as a table of the classes."""
        from rich.console import Console
        from rich.table import Table

        table = Table(
            title=f"accuracy {self.accuracy:.4f}, loss {self.loss:.4g} on the {self.split_name} split"
        )
        for column in ("class", "examples", "accuracy", "most often confused with"):
            table.add_column(column, justify="right" if column in ("examples", "accuracy") else "left")
        for row, (name, accuracy) in enumerate(self.class_accuracies.items()):
            counts = self.counts[row]
            others = np.where(np.arange(len(counts)) == row, 0, counts)
            worst = f"{self.classes[others.argmax()]} ({others.max()})" if others.any() else ""
            table.add_row(name, str(counts.sum()), "" if accuracy is None else f"{accuracy:.3f}", worst)
        console = Console(highlight=False)
        with console.capture() as capture:
            console.print(table)
        return capture.get().rstrip("\n")


def evaluate_classifier(task: Classifier, state: TrainState, data: Data) -> ClassificationReport:
    """The report of a classifier on the evaluated split."""
    name, split = evaluated_split(data)

    @jax.jit
    def call(state: TrainState, batch: Any) -> Any:
        batch = task.prepare_test(batch)
        return task.classify(state, batch), task.labels(batch), task.evaluate(state, batch)["loss"]

    predicted, actual, losses = zip(
        *(jax.device_get(call(state, batch)) for batch in split_batches(split, INFERENCE_BATCH_SIZE)),
        strict=True,
    )
    labels = np.concatenate(actual).astype(int)
    classes = data.meta.get("classes")
    if classes is None:
        classes = [str(n) for n in range(max(2, int(labels.max()) + 1, int(max(map(np.max, predicted))) + 1))]
    loss = float(sum(losses)) / len(labels)
    return ClassificationReport(name, split, tuple(classes), loss, np.concatenate(predicted), labels)
