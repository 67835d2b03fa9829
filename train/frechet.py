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
from train.config import Recipe, read_recipe
from train.data.datasets import find_dataset
from train.recipes import find_recipe
from train.report import read_metrics
from train.runs import TrainedRun, load_recipe_data, load_run
from train.state import TrainState
from train.tasks import build_task

# The classifier for pictures of each shape.
CLASSIFIERS = {(28, 28, 1): "lenet5", (32, 32, 3): "cifar_quick", (64, 64, 3): "resnet18"}
AT_ONCE = 256


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
    """How far what a run draws is from its training pictures; test_split: how far real test pictures are."""

    distance: float
    test_split: float | None
    examples: int
    judge: str


def distance(workdir: Path, data_dir: Path, seed: int = 0) -> Distance:
    """Draws as many pictures as there are to train on, and compares them.

    Errors: ValueError for a folder without a trained generator of pictures.
    """
    from train.generate import generate

    recipe = read_recipe(workdir)
    if find_dataset(recipe.dataset).kind != "image":
        raise ValueError(f"{workdir} draws no pictures: {recipe.model} has no distance")
    data = load_recipe_data(recipe, data_dir)
    real = _pictures(data.train)
    drawn, _ = generate(workdir, count=len(real), seed=seed)
    judge = judge_for(recipe, drawn.shape[1:], data_dir)
    features = judge.features(real)
    held = None if data.test is None else frechet_distance(judge.features(_pictures(data.test)), features)
    made = judge.features(np.clip((drawn + 1) / 2, 0, 1).astype(np.float32))
    return Distance(frechet_distance(made, features), held, len(real), judge.name)


def _pictures(split: Any) -> np.ndarray:
    """The pictures of a split, (N, H, W, C) uint8."""
    from train.data.sources import Source, read_source

    arrays = read_source(split, len(split)) if isinstance(split, Source) else split
    return np.asarray(arrays["image"])
