"""Judges trained runs: `python -m train.evaluate runs/lenet5`.

A classifier on the test split, or the training split where a set has no other: the accuracy, that of every
class, the confusion matrix, and a page of pictures with their predicted and actual names. What draws, by the
Fréchet distance to its training examples (train/frechet.py). Writes evaluation.json, confusion.png and
predictions.png, or distance.json, into the run folder's evaluation/. Of several runs the figures stand in one
table, those that differ by their seed alone in one row of it.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro

from train.commands import parse_flags, run_command, use_compilation_cache
from train.config import AutoencodeRecipe, ClassifyRecipe, CycleGANRecipe, GANRecipe, Recipe, read_recipe

PROG = "python -m train.evaluate"
Figures = Mapping[str, tuple[float, float | None]]
"""{figure: (its value for a run, that of real data where there is one)}."""
SHOWN = 40  # pictures on the page; the wrong ones first, at most half of it


@dataclass(frozen=True)
class Flags:
    """Judge trained classifiers on their test split, and generators by what they draw."""

    runs: Annotated[tuple[Path, ...], tyro.conf.Positional]
    """Run folders of train.run."""
    data_dir: Path = Path("data")
    """Where data sets, and the classifiers that judge generators, are kept."""
    seed: int = 0
    """Of a generator: seed of the noise that it draws from."""


@dataclass(frozen=True)
class Evaluated:
    """What a classifier says of a split.

    counts: (C, C), actual class by predicted class. predicted, actual: (N,) class numbers.
    """

    split: str
    classes: tuple[str, ...]
    loss: float
    predicted: np.ndarray
    actual: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        size = len(self.classes)
        return np.bincount(self.actual * size + self.predicted, minlength=size * size).reshape(size, size)

    @property
    def accuracy(self) -> float:
        return float((self.predicted == self.actual).mean())

    @property
    def class_accuracies(self) -> dict[str, float | None]:
        """Of each class, the share of its examples that is recognised; None where there are none."""
        totals, right = self.counts.sum(1), self.counts.diagonal()
        return {
            name: float(r / n) if n else None for name, r, n in zip(self.classes, right, totals, strict=True)
        }

    def to_json(self) -> dict[str, Any]:
        return {
            "split": self.split, "examples": len(self.actual), "loss": self.loss, "accuracy": self.accuracy,
            "class_accuracies": self.class_accuracies, "classes": list(self.classes),
            "confusion": self.counts.tolist(),
        }  # fmt: skip


def evaluate(workdir: Path, data_dir: Path) -> Evaluated:
    """Judges the last checkpoint of a run, and writes the run folder's evaluation/.

    Errors: ValueError for a folder without a trained classifier.
    """
    if not isinstance(read_recipe(workdir), ClassifyRecipe):
        raise ValueError(f"{workdir} holds no classifier: evaluate judges runs of the task classify")
    from train.evaluation import split_batches
    from train.plots import save_confusion, save_predictions
    from train.runs import load_recipe_data, load_run

    run = load_run(workdir)
    data = load_recipe_data(run.recipe, data_dir)
    name, split = ("training", data.train) if data.test is None else ("test", data.test)
    result = _judge(run, split, name, tuple(data.meta.get("classes", ("0", "1"))))
    folder = workdir / "evaluation"
    folder.mkdir(exist_ok=True)
    (folder / "evaluation.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
    save_confusion(result.counts, result.classes, folder / "confusion.png")
    chosen = _page(result)
    example = next(iter(split_batches(split, 1)))
    if "image" in example:
        images = split["image"][chosen] if isinstance(split, dict) else [split[i]["image"] for i in chosen]
        names = [(result.classes[result.predicted[i]], result.classes[result.actual[i]]) for i in chosen]
        titles = [(p if p == a else f"{p}\nnot {a}", p == a) for p, a in names]
        save_predictions(np.stack(list(images)), titles, folder / "predictions.png")
    return result


def _judge(run: Any, split: Any, name: str, classes: tuple[str, ...]) -> Evaluated:
    import jax

    from train.evaluation import LARGEST, split_batches
    from train.tasks import build_task
    from train.tasks.supervised import targets_of

    task = build_task(run.recipe, run.model)

    @jax.jit
    def call(state, batch):
        batch = task.prepare_test(batch)
        outputs = task.predict(state, batch)
        chosen = outputs[:, 0] >= 0.5 if outputs.shape[1] == 1 else outputs.argmax(1)
        return chosen.astype(int), targets_of(batch), task.evaluate(state, batch)["loss"]

    predicted, actual, losses = zip(
        *(jax.device_get(call(run.state, batch)) for batch in split_batches(split, LARGEST)), strict=True
    )
    actual = np.concatenate(actual).reshape(-1).astype(int)
    return Evaluated(name, classes, float(sum(losses)) / len(actual), np.concatenate(predicted), actual)


def _page(result: Evaluated) -> np.ndarray:
    """The rows of the split to show: wrong ones, up to half of the page, then the first right ones."""
    wrong = np.flatnonzero(result.predicted != result.actual)[: SHOWN // 2]
    right = np.flatnonzero(result.predicted == result.actual)[: SHOWN - len(wrong)]
    return np.concatenate([wrong, right])


def show(result: Evaluated, workdir: Path) -> None:
    """The figures as a table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"accuracy {result.accuracy:.4f}, loss {result.loss:.4g} on the {result.split} split")
    for column in ("class", "examples", "accuracy", "most often taken for"):
        table.add_column(column, justify="right" if column in ("examples", "accuracy") else "left")
    for row, (name, accuracy) in enumerate(result.class_accuracies.items()):
        counts = result.counts[row]
        others = np.where(np.arange(len(counts)) == row, 0, counts)
        worst = f"{result.classes[others.argmax()]} ({others.max()})" if others.any() else ""
        table.add_row(name, str(counts.sum()), "" if accuracy is None else f"{accuracy:.3f}", worst)
    Console(highlight=False).print(table)
    print(f"wrote {workdir / 'evaluation'}/: evaluation.json, confusion.png, predictions.png")


def judge_generator(workdir: Path, data_dir: Path, seed: int) -> Figures:
    """Says how far what a run draws is from its training examples, and writes it down."""
    from train.frechet import distances

    results = distances(workdir, data_dir, seed)
    path = workdir / "evaluation" / "distance.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"seed": seed, "distances": [asdict(r) for r in results]}, indent=2) + "\n")
    for result in results:
        held = "" if result.test_split is None else f"; that of the test split is {result.test_split:.4g}"
        print(f"{workdir}: Fréchet distance of {result.examples} {result.made} {result.distance:.4g}{held}")
    print(f"by {results[0].judge}; wrote {path}")
    return {f"distance of {r.made}": (r.distance, r.test_split) for r in results}


def judge(workdir: Path, data_dir: Path, seed: int) -> Figures:
    """Judges one run, shows and writes what was found."""
    if isinstance(read_recipe(workdir), AutoencodeRecipe | CycleGANRecipe | GANRecipe):
        return judge_generator(workdir, data_dir, seed)
    result = evaluate(workdir, data_dir)
    show(result, workdir)
    return {f"{result.split} accuracy": (result.accuracy, None)}


def spread_table(recipes: Sequence[Recipe], figures: Sequence[Figures]) -> str:
    """One line for every figure of runs that differ by their seed alone, as Markdown: mean and deviation."""
    groups: dict[tuple[str, str], list[tuple[float, float | None]]] = {}
    names: dict[str, str] = {}
    for recipe, found in zip(recipes, figures, strict=True):
        kind = json.dumps({**recipe.to_json(), "seed": None}, sort_keys=True)
        options = ", ".join(f"{name} {value}" for name, value in recipe.options.items())
        names[kind] = f"{recipe.model} ({options})" if options else recipe.model
        for figure, value in found.items():
            groups.setdefault((kind, figure), []).append(value)
    lines = ["| model | figure | seeds | mean | deviation | of real data |", "|---|---|---|---|---|---|"]
    for (kind, figure), values in groups.items():
        numbers, real = [value for value, _ in values], [held for _, held in values if held is not None]
        deviation = f"{statistics.stdev(numbers):.2g}" if len(numbers) > 1 else ""
        held = f"{statistics.mean(real):.4g}" if real else ""
        mean = f"{statistics.mean(numbers):.4g}"
        lines.append(f"| {names[kind]} | {figure} | {len(numbers)} | {mean} | {deviation} | {held} |")
    return "\n".join(lines)


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    if not flags.runs:
        raise ValueError("a run folder is needed")
    recipes = [read_recipe(workdir) for workdir in flags.runs]
    use_compilation_cache()
    figures = [judge(workdir, flags.data_dir, flags.seed) for workdir in flags.runs]
    if len(figures) > 1:
        print(spread_table(recipes, figures))


if __name__ == "__main__":
    run_command(PROG, main)
