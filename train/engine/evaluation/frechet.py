"""The Fréchet distance between generated and real examples.

It is computed in the features of a classifier that this project trains.

Heusel et al., "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium" (2017),
with a small network in place of Inception. The network is trained on the same data and kept in the data
folder. Compare a distance only with distances computed with the same classifier. The distance of images to
themselves is 0.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from flax_models import layers
from train.data.datasets import find_dataset
from train.data.sources import Arrays, Data, Generated, Source, read_source
from train.engine.evaluation.report import Metric
from train.engine.evaluation.split import INFERENCE_BATCH_SIZE
from train.engine.loop import train
from train.engine.metrics import read_metrics
from train.engine.run_folders import write_json
from train.engine.sampling import sample, translate
from train.engine.trained import TrainedRun, load_trained
from train.recipes import Recipe, find_recipe
from train.tasks import build_task
from train.tasks.contract import Predictor, Translator

CLASSIFIERS: dict[tuple[int, ...], str] = {
    (28, 28, 1): "lenet5",
    (32, 32, 3): "cifar_quick",
    (64, 64, 3): "resnet18",
}
"""The classifier for images of each shape."""
NUM_GENERATED = 10_000  # examples that are compared if the data set generates them


class FeatureExtractor(NamedTuple):
    """A trained classifier without its last layer.

    features: images (N, H, W, C) in [0, 1] -> features (N, F), the input of the last layer.
    """

    name: str
    features: Callable[[np.ndarray], np.ndarray]


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """The distance of the normal distributions fitted to two sets of features, (N, F) and (M, F).

    It is |mean_a - mean_b|^2 + trace(cov_a + cov_b - 2 sqrt(cov_a cov_b)), in float64.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    # sqrt(cov_a cov_b) has the eigenvalues of the root of this symmetric matrix.
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ second @ root), 0, None)).sum()
    gap = np.square(a.mean(0) - b.mean(0)).sum()
    return float(gap + np.trace(first) + np.trace(second) - 2 * cross)


def feature_extractor_for(recipe: Recipe, shape: Sequence[int], data_dir: Path) -> FeatureExtractor:
    """The classifier for a recipe's data.

    If the data folder does not contain it, it is trained first, with its own recipe.

    Errors: ValueError for images of a shape that none of CLASSIFIERS takes.
    """
    if tuple(shape) not in CLASSIFIERS:
        given, *known = ("x".join(map(str, one)) for one in (shape, *CLASSIFIERS))
        raise ValueError(
            f"no classifier takes images of {given}; there are classifiers for {', '.join(known)}"
        )
    classifier = find_recipe(CLASSIFIERS[tuple(shape)])
    if find_dataset(recipe.dataset).classes and recipe.dataset != classifier.dataset:
        classifier = classifier.on(recipe.dataset)
    folder = data_dir / "classifiers" / f"{classifier.model}-{classifier.dataset.replace('/', '_')}"
    records = read_metrics(folder)
    if not records or records[-1]["epoch"] < (classifier.epochs or 0):
        train(classifier, folder, data_dir)
    accuracy = read_metrics(folder)[-1]["test_accuracy"]
    name = f"{classifier.model} trained on {classifier.dataset}, test accuracy {accuracy:.3f}"
    return FeatureExtractor(name, _features_of(load_trained(folder)))


def _features_of(run: TrainedRun) -> Callable[[np.ndarray], np.ndarray]:
    """A function that applies the test transforms and then the network without its last linear layer."""
    linear = [path for path, module in nnx.iter_modules(run.model) if isinstance(module, layers.Linear)]
    *parents, last = linear[-1]
    parent = run.model
    for name in parents:
        parent = parent[name] if isinstance(name, int) else getattr(parent, str(name))
    if isinstance(last, int):
        parent[last] = layers.Identity()
    else:
        setattr(parent, str(last), layers.Identity())
    task = build_task(run.recipe, run.model)
    state = task.initial_state()
    assert isinstance(task, Predictor), "the recipe declares this capability"

    @jax.jit
    def call(images: jax.Array) -> jax.Array:
        return task.predict(state, task.prepare_test({"image": images}))

    def features(images: np.ndarray) -> np.ndarray:
        starts = range(0, len(images), INFERENCE_BATCH_SIZE)
        return np.concatenate(
            [np.asarray(call(jnp.asarray(images[n : n + INFERENCE_BATCH_SIZE]))) for n in starts]
        )

    return features


@dataclass(frozen=True)
class Distance:
    """The distance between the examples that a run makes and its training examples.

    made: "samples", or the direction of a translation. test_split: the distance between the real test
    examples and the training examples. examples: the number of examples that were made. judge: the name of
    the classifier whose features are compared.
    """

    made: str
    distance: float
    test_split: float | None
    examples: int
    judge: str


@dataclass(frozen=True)
class DistanceReport:
    """The distances of a generative run."""

    distances: Sequence[Distance]
    seed: int = 0

    @property
    def metrics(self) -> Mapping[str, Metric]:
        return {f"distance of {d.made}": Metric(d.distance, d.test_split) for d in self.distances}

    def write(self, folder: Path) -> list[str]:
        """Writes distance.json."""
        distances = [dataclasses.asdict(distance) for distance in self.distances]
        write_json(folder / "distance.json", {"seed": self.seed, "distances": distances})
        return ["distance.json"]

    def show(self) -> str:
        """The distances as text, one per line."""
        lines = []
        for d in self.distances:
            real = "" if d.test_split is None else f"; of the test split: {d.test_split:.4g}"
            lines.append(f"Fréchet distance of {d.examples} {d.made}: {d.distance:.4g}{real}")
        return "\n".join([*lines, f"features by {self.distances[0].judge}"])


def evaluate_samples(run: TrainedRun, data: Data, data_dir: Path, seed: int = 0) -> DistanceReport:
    """The distance between the training examples and the same number of samples.

    Errors: ValueError for a run that does not sample, and for images that none of CLASSIFIERS takes.
    """
    if isinstance(data.train, Generated):
        return DistanceReport([_distance_of_rows(run, data, seed)], seed)
    real = _images(data.train, "image")
    test = None if data.test is None else _images(data.test, "image")
    samples = sample(run, data.meta, count=len(real), seed=seed).examples
    extractor = feature_extractor_for(run.recipe, samples.shape[1:], data_dir)
    return DistanceReport([_distance("samples", samples, real, test, extractor)], seed)


def evaluate_translations(run: TrainedRun, data: Data, data_dir: Path) -> DistanceReport:
    """For every direction, the distance between the translations of all test images and the target domain."""
    split: Any = data.train if data.test is None else data.test
    train_split: Any = data.train
    task = run.task
    assert isinstance(task, Translator), "the recipe declares this capability"
    translations = translate(run, data, len(split["a"]))
    extractor = feature_extractor_for(run.recipe, split["a"].shape[1:], data_dir)
    found = []
    for direction, parts in translations.items():
        _, target = task.directions[direction]
        test = None if data.test is None else split[target]
        found.append(_distance(direction, parts.translated, train_split[target], test, extractor))
    return DistanceReport(found)


def _distance(
    made: str, images: np.ndarray, real: np.ndarray, test: np.ndarray | None, extractor: FeatureExtractor
) -> Distance:
    """The distance between images in [-1, 1] and real ones in uint8. test: the real test images."""
    features = extractor.features(real)
    test_split = None if test is None else frechet_distance(extractor.features(test), features)
    made_features = extractor.features(np.clip((images + 1) / 2, 0, 1).astype(np.float32))
    return Distance(made, frechet_distance(made_features, features), test_split, len(images), extractor.name)


def _distance_of_rows(run: TrainedRun, data: Data, seed: int) -> Distance:
    """The distance between rows of numbers and rows that the data set generates.

    The numbers themselves are the features.
    """
    assert isinstance(data.train, Generated)
    samples = sample(run, data.meta, count=NUM_GENERATED, seed=seed).examples
    generate = data.train.generate
    real, test = (np.asarray(generate(jax.random.key(n), NUM_GENERATED)["x"]) for n in (0, 1))
    name = "the heights themselves"
    distance, test_split = frechet_distance(samples, real), frechet_distance(test, real)
    return Distance("samples", distance, test_split, NUM_GENERATED, name)


def _images(split: Arrays | Source, name: str) -> np.ndarray:
    """The images of a split, (N, H, W, C) uint8."""
    arrays = read_source(split, len(split)) if isinstance(split, Source) else split
    return np.asarray(arrays[name])
