"""Trained runs: `fit` trains a model, `load_run` reads a run folder, and both return a `Run`."""

import dataclasses
import tempfile
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from train.data.sources import Data, as_data, name_arrays
from train.engine.evaluation.classification import evaluate_classifier
from train.engine.evaluation.frechet import evaluate_samples, evaluate_translations
from train.engine.evaluation.report import Report
from train.engine.evaluation.split import INFERENCE_BATCH_SIZE, evaluate_metrics, examples_at
from train.engine.loop import train
from train.engine.metrics import read_metrics
from train.engine.run_folders import prepare_workdir, read_meta, with_options_of
from train.engine.sampling import Samples, Translations, sample, translate
from train.engine.trained import TrainedRun, load_trained
from train.recipes import Capability, Recipe, find_recipe, load_recipe_data, make_recipe
from train.recipes.inputs import ARRAYS
from train.tasks.contract import Answer, Answerer, Classifier, Predictor

DATA_DIR = Path("data")


@dataclass
class Run(TrainedRun):
    """A trained run. `fit` and `load_run` make one.

    recipe: the recipe that was trained. state: parameters, buffers, optimizer states and step. model: the
    Flax model with the trained weights. metrics: the records of metrics.jsonl, one dict per line; the last
    one has the metrics of the test split. workdir: the run folder.
    """

    data: Data | None = None
    data_dir: Path = DATA_DIR

    @property
    def metrics(self) -> list[dict[str, Any]]:
        """The records of metrics.jsonl; the last one has the metrics of the test split."""
        return read_metrics(self.workdir)

    @property
    def meta(self) -> dict[str, Any]:
        """The metadata of the data set (class names, scale, ...), such as {"classes": [...]}."""
        return read_meta(self.workdir)

    def sample(
        self, count: int = 64, *, seed: int = 0, label: str | None = None, latents: np.ndarray | None = None
    ) -> Samples:
        """Samples of a generative model: `.examples` (N, H, W, C) in [-1, 1], and `.labels`.

        latents: (N, ...) to decode. If they are not given, `count` latents are drawn from the seed. label:
        the name of the class to sample.
        Errors: ValueError for a model that does not sample, and for bad arguments.
        """
        meta = self.meta if (self.workdir / "data.json").is_file() else {}
        return sample(self, meta, count=count, seed=seed, label=label, latents=latents)

    def translate(self, count: int = 64) -> dict[str, Translations]:
        """The translations of test images in every direction, in [-1, 1].

        Errors: ValueError for a model that does not translate.
        """
        return translate(self, self.load_data(), count)

    def predict(self, inputs: Any) -> np.ndarray:
        """The outputs (N, ...) of a classifier or regression for an array of inputs, in evaluation mode.

        inputs: images (N, H, W, C), uint8 or floats in [0, 1], or rows (N, features). The recipe's test
        transforms are applied. Errors: ValueError for a model that does not predict from arrays.
        """
        self.recipe.require_capability(Capability.PREDICT, self.workdir)
        task = self.task
        assert isinstance(task, Predictor), "the recipe declares this capability"
        arrays = name_arrays(inputs)
        (array,) = arrays.values()

        @jax.jit
        def call(state: Any, batch: Any) -> jax.Array:
            return task.predict(state, task.prepare_test(batch))

        parts = []
        for start in range(0, len(array), INFERENCE_BATCH_SIZE):
            batch = {name: jnp.asarray(a[start : start + INFERENCE_BATCH_SIZE]) for name, a in arrays.items()}
            parts.append(np.asarray(call(self.state, batch)))
        return np.concatenate(parts)

    def classify(self, inputs: Any) -> list[str]:
        """The name of the predicted class of every input.

        inputs: arrays as in `predict`, or a list of the names of image files. `answer(files=[...])` gives
        their probabilities too.
        """
        self.recipe.require_capability(Capability.CLASSIFY, self.workdir)
        if isinstance(inputs, list | tuple) and inputs and all(isinstance(one, str | Path) for one in inputs):
            return [classes[0][0] for _, classes in self.answer(files=inputs, top=1).values]
        outputs = self.predict(inputs)
        chosen = (outputs[:, 0] >= 0.5).astype(int) if outputs.shape[1] == 1 else outputs.argmax(1)
        classes = self.meta.get("classes")
        return [str(n) if classes is None else classes[n] for n in chosen]

    def answer(self, **question: Any) -> Answer:
        """The answer to a question: `run.answer(context="so gazed")`, `run.answer(files=["a.png"])`.

        question: the arguments that `recipe.question` names.
        Errors: ValueError for a model that does not answer, and for a missing or unknown argument.
        """
        self.recipe.require_capability(Capability.ANSWER, self.workdir)
        self.recipe.question.check(question, self.recipe.model)
        if "positions" in question:
            question["examples"] = examples_at(self.load_data(), question["positions"])
        assert isinstance(self.task, Answerer), "the recipe declares this capability"
        return self.task.answer(self.state, self.meta, **question)

    def evaluate(self, data: Any = None, *, seed: int = 0) -> Report:
        """A report on the test split: `.metrics`, `.show()`, `.write(folder)`.

        A classifier is measured by its accuracy per class, a generative model by the Fréchet distance of its
        samples or translations, and any other model by the metrics of its task.
        data: replaces the run's data; the forms are those of `fit`. seed: the seed of the latents of a
        generative model.
        Errors: ValueError for data that cannot be used for an evaluation.
        """
        found = self.load_data() if data is None else as_data(data)
        if data is not None:
            found = self.recipe.fit_data(found, self.meta)
            found = found._replace(meta={**found.meta, **self.meta})
        if Capability.SAMPLE in self.recipe.capabilities:
            return evaluate_samples(self, found, self.data_dir, seed)
        if Capability.TRANSLATE in self.recipe.capabilities:
            return evaluate_translations(self, found, self.data_dir)
        if Capability.CLASSIFY in self.recipe.capabilities:
            assert isinstance(self.task, Classifier), "the recipe declares this capability"
            return evaluate_classifier(self.task, self.state, found)
        return evaluate_metrics(self.task, self.state, found)

    def load_data(self) -> Data:
        """The data set of the run. Errors: ValueError if it cannot be read."""
        return load_recipe_data(self.recipe, self.data_dir, self.data)


def load_run(
    workdir: Path | str, *, model: Any = None, data: Any = None, data_dir: Path | str = DATA_DIR
) -> Run:
    """The run in a folder, with its last intact checkpoint.

    model: the model's class or an instance. It is needed if the recipe's model cannot be imported (for
    example a class of a notebook). The weights are loaded into an instance. data: the user's arrays, for a
    run that trains on arrays. data_dir: the folder of the data sets.
    Errors: ValueError if the folder contains no run, or no intact checkpoint.
    """
    trained = load_trained(workdir, model)
    return Run(**vars(trained), data=None if data is None else as_data(data), data_dir=Path(data_dir))


def fit(
    recipe: Any = None, workdir: Path | str | None = None, data: Any = None, *, model: Any = None,
    task: str | None = None, dataset: str | None = None, data_dir: Path | str = DATA_DIR, quiet: bool = False,
    **overrides: Any,
) -> Run:  # fmt: skip
    """Trains a model and returns the run.

    recipe: the name of a model of the catalogue, such as "dcgan"; a Recipe; or a model of your own: an
    `nnx.Module`, its class, or its import path "package.module:Class". A class is called as
    `Class(**options, rngs=rngs)`. Training starts from the weights of an instance.
    workdir: the run folder. It is created, or the run in it is resumed. If it is not given, the run uses a
    temporary folder, which is deleted together with the returned run.
    data: (inputs, targets); {"image": (N, H, W, C), "label": (N,)} or {"x": ..., "y": ...}; a pair
    (train, test) of these; or a `train.data.sources.Data`. If it is not given, the recipe's data set is used.
    model: a model of your own can be given as `model` instead of `recipe`. task: the task that trains a model
    of your own, such as "classify". dataset: the name of a data set. data_dir: the folder of the data sets.
    quiet: print nothing.
    overrides: fields of the recipe, such as epochs=3 or optimizer=SGD(lr=0.1).
    Errors: ValueError for an unknown name or field, for values that the recipe refuses, for data that does
    not suit the model, and for a folder that contains another run.

        run = train.fit("lenet5", epochs=2)
        run = train.fit(model=MyModel, task="classify", data=(images, labels), epochs=5)
    """
    given = model if recipe is None else recipe
    found = None if data is None else as_data(data)
    chosen, user_model = _choose_recipe(given, task, ARRAYS if found is not None else dataset, overrides)
    if dataset is not None and found is None:
        chosen = chosen.on(dataset)
    chosen = _override(chosen, overrides)
    folder = None
    if workdir is None:
        folder = tempfile.TemporaryDirectory(prefix="flax-torch-twins-")
        workdir = folder.name
    path = Path(workdir)
    if not isinstance(user_model, nnx.Module):
        chosen = with_options_of(path, chosen)
    prepare_workdir(chosen, path, resume=True)
    train(chosen, path, Path(data_dir), data=found, model=user_model, quiet=quiet)
    run = load_run(path, model=user_model, data=found, data_dir=data_dir)
    if folder is not None:
        weakref.finalize(run, folder.cleanup)  # the temporary folder lives as long as the run
    return run


def _choose_recipe(
    given: Any, task: str | None, dataset: str | None, overrides: Mapping[str, Any]
) -> tuple[Recipe, Any]:
    """(the recipe for the arguments of `fit`, the user's model or None)."""
    if isinstance(given, Recipe):
        return (given if dataset is None else dataclasses.replace(given, dataset=dataset)), None
    if isinstance(given, str) and ":" not in given:
        recipe = find_recipe(given)
        return (dataclasses.replace(recipe, dataset=dataset) if dataset == ARRAYS else recipe), None
    if given is None:
        raise ValueError("fit needs the name of a model, a Recipe, or a model of your own")
    user_model = None if isinstance(given, str) else given
    cls = given if isinstance(given, type) else type(given)
    name = given if isinstance(given, str) else f"{cls.__module__}:{cls.__qualname__}"
    if user_model is not None and not issubclass(cls, nnx.Module):
        raise ValueError(f"fit takes the name of a model, a Recipe, or an nnx.Module, got {cls.__name__}")
    if task is None:
        raise ValueError(f'{name} needs a task, such as task="classify"')
    if dataset is None:
        raise ValueError(f"{name} needs data: give data=(inputs, targets), or the name of a data set")
    lengths = {name: value for name, value in overrides.items() if name in ("epochs", "steps")}
    return make_recipe(name, task, dataset, **lengths), user_model


def _override(recipe: Recipe, overrides: Mapping[str, Any]) -> Recipe:
    """The recipe with these fields. An override of `epochs` replaces the recipe's `steps`."""
    known = {f.name for f in dataclasses.fields(recipe)}
    unknown = sorted(overrides.keys() - known)
    if unknown:
        raise ValueError(
            f"the recipe of {recipe.model} has no field {', '.join(unknown)}: "
            f"there are {', '.join(sorted(known))}"
        )
    fields = dict(overrides)
    if fields.get("epochs") is not None and "steps" not in fields:
        fields["steps"] = None
    return dataclasses.replace(recipe, **fields)
