"""What a training run is, as plain frozen values: recipes and their optimizers.

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

Hidden = tyro.conf.Suppress


@dataclass(frozen=True, kw_only=True)
class SGD:
    """torch.optim.SGD's arguments, with its defaults."""

    lr: float = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False


@dataclass(frozen=True, kw_only=True)
class Adagrad:
    """torch.optim.Adagrad's arguments, with its defaults."""

    lr: float = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10


@dataclass(frozen=True, kw_only=True)
class RMSprop:
    """torch.optim.RMSprop's arguments, with its defaults."""

    lr: float = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False


@dataclass(frozen=True, kw_only=True)
class Adam:
    """torch.optim.Adam's arguments, with its defaults."""

    lr: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False


@dataclass(frozen=True, kw_only=True)
class AdamW(Adam):
    """torch.optim.AdamW's arguments, with its defaults."""

    weight_decay: float = 1e-2


Optimizer = SGD | Adagrad | RMSprop | Adam | AdamW
OPTIMIZER_CLASSES = {cls.__name__: cls for cls in (SGD, Adagrad, RMSprop, Adam, AdamW)}


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
    epochs: int
    """Passes over the training split."""
    steps: int | None = None
    """Optimizer steps, in place of --epochs."""
    batch_size: int
    """Examples a step."""
    seed: int = 0
    """Seed of the weights, the order of the data and all noise."""
    shuffle: bool = True
    """Draw a new order of the examples every epoch."""
    take: int | None = None
    """Train on the first so many examples only."""
    checkpoint_every: int | None = None
    """Steps between checkpoints; an epoch, or a twentieth of a long run, where not given."""
    sample_every: int | None = None
    """Steps between pictures; a tenth of the run where not given."""
    steps_per_call: int = 1
    """Steps in one dispatch: many for small models and on a GPU, one for convolutions on a CPU."""
    log_every: int = 50
    """Steps between lines of metrics.jsonl, each the mean since the last."""
    expect: Hidden[str] = ""
    """What the recipe reaches, and how long it takes."""
    overrides: Hidden[Mapping[str, Mapping[str, Any]]] = field(default_factory=dict)
    """Fields that differ on other data sets: {dataset: {field: value}}."""

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        """The optimizer of each child of the model that has one of its own; "" is the whole model."""
        raise NotImplementedError

    def on(self, dataset: str) -> "Recipe":
        """This recipe on another data set, with the overrides that it carries for it."""
        return dataclasses.replace(self, dataset=dataset, **self.overrides.get(dataset, {}))

    def to_json(self) -> dict[str, Any]:
        """Every field that bears on the run; `recipe_from_json` reads it back."""
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        del values["expect"], values["overrides"]
        for name, value in values.items():
            if isinstance(value, Optimizer):
                values[name] = {"name": type(value).__name__, **dataclasses.asdict(value)}
            elif isinstance(value, Mapping):
                values[name] = dict(value)
        return {"task": self.task, **values}


@dataclass(frozen=True, kw_only=True)
class GANRecipe(Recipe):
    """Adversarial training: a generator against a discriminator, each with its optimizer."""

    task: ClassVar[str] = "gan"

    loss: Literal["bce"] = "bce"
    """bce: binary cross-entropy on logits, for the discriminator real and fake not halved."""
    noise: Literal["uniform", "normal"] = "uniform"
    """uniform: U(-1, 1); normal: N(0, 1)."""
    generator_optimizer: Optimizer
    """torch's optimizer for the generator."""
    discriminator_optimizer: Optimizer
    """torch's optimizer for the discriminator."""

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"generator": self.generator_optimizer, "discriminator": self.discriminator_optimizer}


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
        fields[name] = value
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
