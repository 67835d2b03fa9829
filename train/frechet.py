"""The Fréchet distance between generated and real examples, by features of a classifier of ours.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (2017),
with a small network in place of Inception, trained on the same data and kept in the data folder. So a
distance is to be compared with others by the same classifier only; to themselves, pictures have 0.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flax_models import layers
from train.config import CycleGANRecipe, Recipe, read_recipe
from train.data.datasets import find_dataset
from train.data.sources import Data, Fresh, Source, read_source
from train.generate import generate, translate
from train.recipes import find_recipe
from train.report import read_metrics
from train.runs import TrainedRun, load_recipe_data, load_run
from train.state import TrainState
from train.tasks import build_task

# The classifier for pictures of each shape.
CLASSIFIERS = {(28, 28, 1): "lenet5", (32, 32, 3): "cifar_quick", (64, 64, 3): "resnet18"}
AT_ONCE = 256
CURVES = 10_000  # as many as are compared where the data set makes its own


class Judge(NamedTuple):
    """A trained classifier: pictures (N, H, W, C) in [0, 1] -> features (N, F), what its last layer sees."""

    name: str
    features: Callable[[np.ndarray], np.ndarray]


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Between the normal distributions fitted to two sets of features, (N, F) and (M, F).

    |mean_a - mean_b|^2 + trace(cov_a + cov_b - 2 sqrt(cov_a cov_b)), in float64.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    # sqrt(cov_a cov_b) has the eigenvalues of this symmetric matrix's root.
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    gap = np.square(a.mean(0) - b.mean(0)).sum()
    return float(gap + np.trace(first) + np.trace(second) - 2 * cross)


def judge_for(recipe: Recipe, shape: tuple[int, int, int], data_dir: Path) -> Judge:
    """The classifier for a recipe's data, trained by its own recipe where the data folder has none yet.

    Errors: ValueError for pictures of a shape that no classifier here takes.
    """
    if shape not in CLASSIFIERS:
        given, *known = ("x".join(map(str, one)) for one in (shape, *CLASSIFIERS))
        raise ValueError(f"no classifier judges pictures of {given}: there are those for {', '.join(known)}")
    judge = find_recipe(CLASSIFIERS[shape])
    if find_dataset(recipe.dataset).classes and recipe.dataset != judge.dataset:
        judge = judge.on(recipe.dataset)
    folder = data_dir / "classifiers" / f"{judge.model}-{judge.dataset.replace('/', '_')}"
    run = _trained(judge, folder, data_dir)
    accuracy = read_metrics(folder)[-1]["test_accuracy"]
    name = f"{judge.model} trained on {judge.dataset}, test accuracy {accuracy:.3f}"
    return Judge(name, _features_of(run))


def _trained(judge: Recipe, folder: Path, data_dir: Path) -> TrainedRun:
    from train.loop import train

    records = read_metrics(folder)
    if not records or records[-1]["epoch"] < judge.epochs:
        train(judge, folder, data_dir)
    return load_run(folder)


def _features_of(run: TrainedRun) -> Callable[[np.ndarray], np.ndarray]:
    """The network without its last linear layer, on pictures as its test transforms leave them."""
    linear = [path for path, module in nnx.iter_modules(run.model) if isinstance(module, layers.Linear)]
    *way, last = linear[-1]
    parent = run.model
    for name in way:
        parent = parent[name] if isinstance(name, int) else getattr(parent, name)
    if isinstance(last, int):
        parent[last] = layers.Identity()
    else:
        setattr(parent, last, layers.Identity())
    task = build_task(run.recipe, run.model)
    state: TrainState = task.state()

    @jax.jit
    def call(images: jax.Array) -> jax.Array:
        batch = task.prepare_test({"image": images})
        return task.predict(state, batch)

    def features(images: np.ndarray) -> np.ndarray:
        parts = [call(jnp.asarray(images[n : n + AT_ONCE])) for n in range(0, len(images), AT_ONCE)]
        return np.concatenate([np.asarray(part) for part in parts])

    return features


@dataclasses.dataclass(frozen=True)
class Distance:
    """How far what a run makes is from its training examples.

    made: what was judged, "samples" or the direction of a translation. test_split: how far real test examples
    are from the training ones. examples: how many were made.
    """

    made: str
    distance: float
    test_split: float | None
    examples: int
    judge: str


def distances(workdir: Path, data_dir: Path, seed: int = 0) -> list[Distance]:
    """Of what a run draws, as many as there are to train on; or of test pictures translated either way.

    Errors: ValueError for a folder without a trained generator.
    """
    recipe = read_recipe(workdir)
    data = load_recipe_data(recipe, data_dir)
    if isinstance(data.train, Fresh):
        return [_distance_of_curves(workdir, data.train, seed)]
    if isinstance(recipe, CycleGANRecipe):
        return _distances_of_translations(workdir, recipe, data, data_dir)
    real = _pictures(data.train, "image")
    drawn, _ = generate(workdir, count=len(real), seed=seed)
    held = None if data.test is None else _pictures(data.test, "image")
    return [_distance("samples", drawn, real, held, judge_for(recipe, drawn.shape[1:], data_dir))]


def _distances_of_translations(workdir: Path, recipe: Recipe, data: Data, data_dir: Path) -> list[Distance]:
    split = data.train if data.test is None else data.test
    made = translate(workdir, data_dir, len(split["a"]))
    judge = judge_for(recipe, split["a"].shape[1:], data_dir)
    found = []
    for way, rows in made.items():
        target = way[-1]
        _, translated, _ = np.split(rows, 3)
        held = None if data.test is None else data.test[target]
        found.append(_distance(way, translated, data.train[target], held, judge))
    return found


def _distance(
    made: str, drawn: np.ndarray, real: np.ndarray, held: np.ndarray | None, judge: Judge
) -> Distance:
    """Of pictures in [-1, 1] from real ones in uint8; held: other real ones."""
    features = judge.features(real)
    test_split = None if held is None else frechet_distance(judge.features(held), features)
    seen = judge.features(np.clip((drawn + 1) / 2, 0, 1).astype(np.float32))
    return Distance(made, frechet_distance(seen, features), test_split, len(drawn), judge.name)


def _distance_of_curves(workdir: Path, fresh: Fresh, seed: int) -> Distance:
    """By their heights, which need no classifier, to curves that the data set draws."""
    drawn, _ = generate(workdir, count=CURVES, seed=seed)
    real, held = (np.asarray(fresh.generate(jax.random.key(n), CURVES)["x"]) for n in (0, 1))
    judge = "the heights themselves"
    return Distance("samples", frechet_distance(drawn, real), frechet_distance(held, real), CURVES, judge)


def _pictures(split: Any, name: str) -> np.ndarray:
    """The pictures of a split, (N, H, W, C) uint8."""
    arrays = read_source(split, len(split)) if isinstance(split, Source) else split
    return np.asarray(arrays[name])
