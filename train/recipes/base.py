"""Recipe: the definition of a training run, as a frozen value that validates itself on construction.

The command line is derived from these classes, so every field has a flag, a type and a line of help.
`recipe.json` contains one recipe. Nothing here imports jax.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, NamedTuple

import tyro

from train.data.datasets import Fit
from train.data.preprocess import parse_preprocessing
from train.data.sources import Data
from train.data.transforms import parse_transforms
from train.optim import Optimizer

Hidden = tyro.conf.Suppress


class Capability(StrEnum):
    """The abilities of a trained model. `train.tasks.contract` has the protocol of each."""

    PREDICT = "predict from arrays"
    CLASSIFY = "classify"
    SAMPLE = "sample"
    TRANSLATE = "translate"
    ANSWER = "answer questions"


class ImageSettings(NamedTuple):
    """How images are read and transformed.

    size: pixels per side of the images that are read; None keeps the shape of the model's default data set.
    fit: how images get that size. transforms, test_transforms: the names of the transforms of training and of
    test images. skip_unreadable: leave out files that are not readable images.
    """

    size: int | None = None
    fit: Fit = "resize"
    transforms: tuple[str, ...] = ()
    test_transforms: tuple[str, ...] = ()
    skip_unreadable: bool = False


class FirstWeights(NamedTuple):
    """The run that gives a child of a model its first weights.

    model: the model that the run must contain. workdir: the run folder. options: the options that this model
    must have, if it takes them.
    """

    model: str
    workdir: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class Question:
    """The arguments of `Run.answer`.

    required: the arguments of which exactly one must be given. `positions` are positions in the test split;
    the task gets these examples too, as `examples`. example: arguments for the task's embedded data set.
    """

    arguments: tuple[str, ...]
    required: tuple[str, ...] = ()
    example: Mapping[str, Any] = field(default_factory=dict)

    def check(self, given: Collection[str], model: str, spell: Callable[[str], str] = str) -> None:
        """ValueError for arguments that the model does not take, and without a required one.

        spell: how the message writes an argument.
        """
        for name in sorted(set(given) - set(self.arguments)):
            possible = ", ".join(map(spell, self.arguments))
            raise ValueError(f"{model} does not take {spell(name)}; it takes {possible}")
        chosen = [name for name in self.required if name in given]
        if self.required and not chosen:
            raise ValueError(f"{model} needs the argument {' or '.join(map(spell, self.required))}")
        if len(chosen) > 1:
            raise ValueError(f"{model} takes only one of {' and '.join(map(spell, chosen))}")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a model is trained: the fields that every task needs. The recipe of a task adds its own fields.

    Errors: ValueError on construction for a field that no run can have.
    """

    task: ClassVar[str]
    """Name of the task: the module of train/tasks that defines the training step."""
    kinds: ClassVar[tuple[str, ...]]
    """The kinds of data (`train.data.datasets.KINDS`) that the task takes."""
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    """What a trained model of the task can do."""
    question: ClassVar[Question] = Question(())
    """The question arguments of a model that can answer."""
    losses: ClassVar[tuple[str, ...]] = ("loss",)
    """The losses that every training step reports."""
    step_fields: ClassVar[tuple[str, ...]] = ()
    """The fields that the PyTorch reference step takes in addition to the model and the optimizers."""

    model: str
    """Name of the model, see --list; or package.module:Class of a model of your own."""
    options: dict[str, int | float | str] = field(default_factory=dict)
    """Arguments of the model's class that differ from its defaults: NAME VALUE NAME VALUE ..."""
    dataset: str
    """Name of the data set; see --list."""
    epochs: int | None = None
    """Passes over the training split."""
    steps: int | None = None
    """Training steps, in place of --epochs."""
    stop_below: float | None = None
    """Stop as soon as the loss of a step is below this value."""
    batch_size: int | None = 64
    """Examples per step; None: all examples in every step."""
    seed: int = 0
    """Seed of the weights, of the order of the data and of all noise."""
    shuffle: bool = True
    """Draw a new order of the examples in every epoch."""
    take: int | None = None
    """Train only on this many examples, the first ones."""
    preprocess: tuple[str, ...] = ()
    """Steps fitted on the whole training split, such as standardize or pca:10; see --list."""
    streaming: Annotated[bool, tyro.conf.arg(aliases=["--stream"])] = False
    """Read batches from disk as they are needed, even if the data fits on the device."""
    workers: int = 0
    """Processes that read ahead when streaming."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; by default an epoch or a twentieth of the run, whichever is longer."""
    sample_every: int | None = None
    """Steps between saved images; by default a tenth of the run."""
    evaluate_every: int | None = None
    """Steps between evaluations on the test split; by default an epoch, or a twentieth of the run if an epoch
    is one step."""
    steps_per_call: int | None = None
    """Steps in one dispatch; by default the number that is fast for the model on this backend."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl; each line is the mean since the previous line."""
    expect: Hidden[str] = ""
    """The result that the recipe reaches, and the time that it takes."""
    overrides: Hidden[Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Fields that differ on other data sets: {dataset: {field: value}}."""

    def __post_init__(self) -> None:
        self._check_at_least(
            1, "epochs", "steps", "batch_size", "take", "checkpoint_every", "sample_every", "evaluate_every",
            "steps_per_call", "log_every",
        )  # fmt: skip
        self._check_at_least(0, "workers")
        if self.stop_below is not None and "loss" not in self.losses:
            raise ValueError(
                "stop_below watches the metric loss, "
                f"and the task {self.task} reports {', '.join(self.losses)}"
            )
        if self.batch_size is not None and self.batch_size < self.batch_splits:
            raise ValueError(
                f"batch_size {self.batch_size} is less than the {self.batch_splits} parts of a batch"
            )
        parse_preprocessing(self.preprocess)

    def _check_at_least(self, least: float, *names: str) -> None:
        """ValueError if one of these fields is given and is below the least value."""
        for name in names:
            value = getattr(self, name)
            if value is not None and not value >= least:  # this form refuses NaN too
                bound = "must not be negative" if least == 0 else f"must be at least {least:g}"
                raise ValueError(f"{name} {bound}, got {value}")

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """{name of a child: its optimizer}; "" is the whole model, with the optimizer `optimizer`."""
        recipe: Any = self
        return {"": recipe.optimizer}

    @property
    def batch_splits(self) -> int:
        """The number of parts into which a step splits its batch."""
        return 1

    @property
    def image_settings(self) -> ImageSettings:
        """How images are read and transformed. Without images, the settings have no effect."""
        return ImageSettings()

    @property
    def differentiated_twice(self) -> frozenset[str]:
        """The children that a step differentiates twice, because the loss contains their gradient."""
        return frozenset()

    @property
    def first_weights(self) -> Mapping[str, FirstWeights]:
        """{path of a child: the run that gives its first weights}; the other weights are drawn at random."""
        return {}

    def require_first_weights(self) -> None:
        """ValueError if a new run needs weights that no run gives."""

    @property
    def step_options(self) -> dict[str, Any]:
        """The arguments of the PyTorch reference step in addition to the model and the optimizers."""
        return {name: getattr(self, name) for name in self.step_fields}

    def fit_data(self, data: Data, run_meta: Mapping[str, Any] | None = None) -> Data:
        """The data as the task takes it.

        run_meta: the metadata of a trained run that the data must fit. Errors: ValueError for data that the
        task cannot learn from.
        """
        return data

    def require_capability(self, capability: Capability, where: object = "") -> None:
        """ValueError if a trained model of this recipe does not have this capability.

        where: the run folder that the message names.
        """
        if capability not in self.capabilities:
            prefix = f"{where}: " if where else ""
            able = ", ".join(sorted(self.capabilities)) or "only be converted"
            raise ValueError(f"{prefix}{self.model} (task {self.task}) cannot {capability}; it can {able}")

    def on(self, dataset: str) -> "Recipe":
        """This recipe on another data set, with the recipe's overrides for that data set."""
        return dataclasses.replace(self, dataset=dataset, **self.overrides.get(dataset.partition(":")[0], {}))

    def to_json(self) -> dict[str, Any]:
        """Every field that affects the run, as JSON values; `recipe_from_json` reads them."""
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
class ImageRecipe(Recipe):
    """The fields of every task on images: how images are read and transformed."""

    image_size: int | None = None
    """Pixels per side of the images that are read; by default those of the model's default data set."""
    image_fit: Fit = "resize"
    """Images of another size are resized and cropped (resize), or cropped or padded with zeros (crop)."""
    transforms: tuple[str, ...] = ()
    """Transforms of training images in [0, 1], in order, such as random_crop:32; see --list."""
    test_transforms: tuple[str, ...] = ()
    """Transforms of the images of the test split."""
    skip_unreadable: bool = False
    """Train without your files that are not readable images, and without empty folders, and name them."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least(1, "image_size")
        parse_transforms(self.transforms)
        parse_transforms(self.test_transforms)

    @property
    def image_settings(self) -> ImageSettings:
        return ImageSettings(
            self.image_size, self.image_fit, self.transforms, self.test_transforms, self.skip_unreadable
        )
