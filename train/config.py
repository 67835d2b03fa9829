"""What a training run is, as plain frozen values: the recipes of every task.

The command line is derived from these classes, and `recipe.json` is one of them written out, so
every field has a flag, a type and a line of help. Nothing here imports jax.
"""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import tyro

from train.optimizer_config import OPTIMIZER_CLASSES, SGD, Adam, Optimizer

Hidden = tyro.conf.Suppress


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained: what every task needs. A task's own recipe adds to it."""

    task: ClassVar[str]
    """The module of train/tasks that says what a step is."""

    model: str
    """Name of the model; see --list."""
    options: dict[str, int | float | str] = field(default_factory=dict)
    """Arguments of the model's class, where they are not the defaults: NAME VALUE NAME VALUE ..."""
    dataset: str
    """Name of the data set; see --list."""
    epochs: int | None = None
    """Passes over the training split."""
    steps: int | None = None
    """Optimizer steps, in place of --epochs."""
    stop_below: float | None = None
    """Stop as soon as a step's loss is under this."""
    batch_size: int | None
    """Examples a step; None: all of them in every step."""
    seed: int = 0
    """Seed of the weights, the order of the data and all noise."""
    shuffle: bool = True
    """Draw a new order of the examples every epoch."""
    take: int | None = None
    """Train on the first so many examples only."""
    preprocess: tuple[str, ...] = ()
    """Steps fitted on the whole training split, such as standardize or pca:10; see --list."""
    stream: bool = False
    """Read batches from the disk as they are needed, even where the data would fit on the device."""
    workers: int = 0
    """Processes that read ahead when streaming."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; an epoch, or a twentieth of a long run, where not given."""
    sample_every: int | None = None
    """Steps between pictures; a tenth of the run where not given."""
    evaluate_every: int | None = None
    """Steps between passes over the test split; an epoch where not given."""
    steps_per_call: int | None = None
    """Steps in one dispatch; where not given, what is fast for the model on this backend."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl, each the mean since the last."""
    expect: Hidden[str] = ""
    """What the recipe reaches, and how long it takes."""
    overrides: Hidden[Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Fields that differ on other data sets: {dataset: {field: value}}."""

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """The optimizer of each child of the model that has one of its own; "" is the whole model."""
        return {"": self.optimizer}

    @property
    def shares(self) -> int:
        """The parts into which a step divides its batch."""
        return 1

    @property
    def step_options(self) -> dict[str, Any]:
        """What the reference step in PyTorch takes besides the model and the optimizers."""
        return {"loss": self.loss} if hasattr(self, "loss") else {}

    def on(self, dataset: str) -> "Recipe":
        """This recipe on another data set, with the overrides that it carries for it."""
        return dataclasses.replace(self, dataset=dataset, **self.overrides.get(dataset.partition(":")[0], {}))

    def to_json(self) -> dict[str, Any]:
        """Every field that bears on the run; `recipe_from_json` reads it back."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del values["expect"], values["overrides"]
        for name, value in values.items():
            if isinstance(value, Optimizer):
                values[name] = {"name": type(value).__name__, **dataclasses.asdict(value)}
            elif isinstance(value, Mapping):
                values[name] = dict(value)
            elif isinstance(value, tuple):
                values[name] = list(value)
        return {"task": self.task, **values}


@dataclass(frozen=True, kw_only=True)
class PicturesRecipe(Recipe):
    """What every task on pictures adds: how they are read and changed before the model sees them."""

    image_size: int | None = None
    """Pixels a side at which pictures are read; those of the model's default data set where not given."""
    transforms: tuple[str, ...] = ()
    """What happens to training pictures in [0, 1], in order, such as random_crop:32; see --list."""
    test_transforms: tuple[str, ...] = ()
    """The same for pictures of the test split."""


@dataclass(frozen=True, kw_only=True)
class GANRecipe(PicturesRecipe):
    """Adversarial training: a generator against a discriminator, each with its optimizer."""

    task: ClassVar[str] = "gan"

    transforms: tuple[str, ...] = ("normalize:0.5:0.5",)
    """What happens to training pictures in [0, 1], in order; the generator draws in [-1, 1]."""
    loss: Literal["bce", "probability", "half_probability", "minimax", "least_squares", "wasserstein"] = "bce"
    """bce: binary cross-entropy on logits, the discriminator's over real plus that over fake; probability:
    the same on probabilities; half_probability: the discriminator's halved; minimax: the generator makes the
    discriminator's larger; least_squares: targets 1 and 0; wasserstein: a critic without bounds."""
    noise: Literal["uniform", "normal"] = "uniform"
    """uniform: U(-1, 1); normal: N(0, 1)."""
    critic_steps: int = 1
    """Steps of the discriminator before the generator's, each on its share of the batch."""
    weight_clip: float | None = None
    """After each of them its weights are cut off at plus and minus this."""
    gradient_penalty: float | None = None
    """Weight of how far the discriminator's slope between real and fake examples is from 1."""
    instance_noise: float | None = None
    """Standard deviation of normal noise added to all that the discriminator is shown, real or generated; it
    falls linearly to 0 over the run."""
    ema: float | None = None
    """Draw by a moving average of the generator's weights that keeps so much of the old in every step."""
    generator_optimizer: Optimizer
    """torch's optimizer for the generator."""
    discriminator_optimizer: Optimizer
    """torch's optimizer for the discriminator."""

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"generator": self.generator_optimizer, "discriminator": self.discriminator_optimizer}

    @property
    def shares(self) -> int:
        return self.critic_steps

    @property
    def step_options(self) -> dict[str, Any]:
        names = ("loss", "critic_steps", "weight_clip", "gradient_penalty", "instance_noise", "ema", "steps")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class CycleGANRecipe(PicturesRecipe):
    """Translating between two domains of pictures without pairs: a generator each way."""

    task: ClassVar[str] = "cyclegan"

    transforms: tuple[str, ...] = ("normalize:0.5:0.5",)
    """What happens to training pictures in [0, 1], in order; the generators draw in [-1, 1]."""
    test_transforms: tuple[str, ...] = ("normalize:0.5:0.5",)
    """The same for pictures of the test split."""
    cycle_weight: float = 10.0
    """Weight of the L1 distance between a picture and what comes back of it from the other domain."""
    identity_weight: float = 5.0
    """Weight of the L1 distance between a picture and its translation into its own domain; 0: none."""
    pool_size: int = 50
    """Past images of each domain that the discriminators may see again; 0: none."""
    decay_after: float = 0.5
    """Share of the run after which the learning rates fall linearly to 0."""
    generator_optimizer: Optimizer = Adam(lr=2e-4, betas=(0.5, 0.999))
    """torch's optimizer for both generators."""
    discriminator_optimizer: Optimizer = Adam(lr=2e-4, betas=(0.5, 0.999))
    """torch's optimizer for both discriminators."""

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """The authors have one for both generators: the same, as every optimizer works value by value."""
        generator, discriminator = self.generator_optimizer, self.discriminator_optimizer
        return {
            "generator_ab": generator, "generator_ba": generator,
            "discriminator_a": discriminator, "discriminator_b": discriminator,
        }  # fmt: skip

    @property
    def step_options(self) -> dict[str, Any]:
        names = ("cycle_weight", "identity_weight", "pool_size", "decay_after", "steps")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class ClassifyRecipe(PicturesRecipe):
    """Telling classes apart, with the accuracy in training and on the test split."""

    task: ClassVar[str] = "classify"

    loss: Literal["cross_entropy", "nll", "bce"] = "cross_entropy"
    """cross_entropy: on logits; nll: on log-probabilities; bce: two classes, on one probability."""
    optimizer: Optimizer = SGD(lr=1e-2, momentum=0.9)
    """torch's optimizer."""


@dataclass(frozen=True, kw_only=True)
class AutoencodeRecipe(PicturesRecipe):
    """Giving back what came in, in [-1, 1]."""

    task: ClassVar[str] = "autoencode"

    transforms: tuple[str, ...] = ("normalize:0.5:0.5",)
    """What happens to training pictures in [0, 1], in order; the decoder draws in [-1, 1]."""
    test_transforms: tuple[str, ...] = ("normalize:0.5:0.5",)
    """The same for pictures of the test split."""
    loss: Literal["sse", "vae"] = "sse"
    """sse: the sum of the squared errors over the batch size; vae: and the KL divergence to N(0, 1)."""
    optimizer: Optimizer = Adam(lr=1e-3)
    """torch's optimizer."""


@dataclass(frozen=True, kw_only=True)
class RegressRecipe(Recipe):
    """Fitting numbers."""

    task: ClassVar[str] = "regress"

    loss: Literal["mse", "sse"] = "mse"
    """mse: the mean of the squared errors; sse: their sum."""
    optimizer: Optimizer = SGD(lr=1e-3)
    """torch's optimizer."""


@dataclass(frozen=True, kw_only=True)
class SequenceRecipe(RegressRecipe):
    """Forecasting a time series: at every step the next value."""

    task: ClassVar[str] = "sequence"

    loss: Literal["mse"] = "mse"
    """mse: the mean of the squared errors over the steps."""
    window: int = 2
    """Values that the model sees at every step: its option input_features."""


@dataclass(frozen=True, kw_only=True)
class LanguageRecipe(Recipe):
    """Predicting the word that follows, with accuracy and perplexity."""

    task: ClassVar[str] = "language"

    loss: Literal["cross_entropy"] = "cross_entropy"
    """cross_entropy: on logits."""
    optimizer: Optimizer = SGD(lr=1e-2)
    """torch's optimizer."""


@dataclass(frozen=True, kw_only=True)
class TagRecipe(Recipe):
    """Tagging the words of sentences: cross-entropy and accuracy over the words that there are."""

    task: ClassVar[str] = "tag"

    optimizer: Optimizer = SGD(lr=1e-2)
    """torch's optimizer."""


def recipe_from_json(values: Mapping[str, Any], base: Recipe) -> Recipe:
    """The recipe that `to_json` wrote, on top of the model's own for what is not in the file."""
    known = {f.name for f in dataclasses.fields(base)}
    fields: dict[str, Any] = {}
    for name, value in values.items():
        if name == "task":
            continue
        if name not in known:
            raise ValueError(f"unknown field {name!r} in the recipe of {values.get('model')!r}")
        if isinstance(getattr(base, name), Optimizer):
            cls = OPTIMIZER_CLASSES[value["name"]]
            arguments = {k: tuple(v) if isinstance(v, list) else v for k, v in value.items() if k != "name"}
            value = cls(**arguments)
        fields[name] = tuple(value) if isinstance(value, list) else value
    return dataclasses.replace(base, **fields)


def read_recipe_json(workdir: Path) -> dict[str, Any]:
    """recipe.json of a run folder. ValueError where the folder holds none that can be read."""
    path = Path(workdir) / "recipe.json"
    if not path.is_file():
        raise ValueError(f"{workdir} is not a run folder: it has no recipe.json")
    try:
        values = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if not isinstance(values, dict) or "model" not in values:
        raise ValueError(f"{path} names no model")
    return values


def read_recipe(workdir: Path) -> Recipe:
    """The recipe of a run folder. ValueError where the folder holds none of a model that we know."""
    from train.recipes import find_recipe

    values = read_recipe_json(workdir)
    try:
        return recipe_from_json(values, find_recipe(values["model"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{workdir}/recipe.json cannot be read as a recipe: {error!r}") from None


def read_meta(workdir: Path) -> dict[str, Any]:
    """data.json of a run folder: what its data set says of itself. ValueError where there is none to read."""
    path = Path(workdir) / "data.json"
    if not path.is_file():
        model = read_recipe(workdir).model
        raise ValueError(
            f"{workdir} has no data.json, which training writes: "
            f"python -m train.run --model {model} --workdir {workdir}"
        )
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
