"""The interface between the engine and the tasks, as typed protocols.

Every task is a `Task`. `Recipe.capabilities` declares what else it can do. A task whose recipe has a
capability provides the protocol that names this capability. Callers ask for the capability, never for the
class.

A step takes its random numbers as an argument, so that the certificate can give the same numbers to both
frameworks.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import jax

from train.data.sources import Data
from train.tasks.state import ModelDef, TrainState, Transformations

Batch = dict[str, jax.Array]
PathOf = Callable[[str], Path]
"""The name of an image that a task saves -> the file to write now."""


@dataclass(frozen=True)
class Precomputation:
    """A part of a training step whose result for an example is the same in every step.

    child: the child of the model that computes it, which training does not change. compute: a function from
    the state and a prepared batch to the batch with the results in place of the images; `step` and `evaluate`
    take such batches too. obstacle: why the results differ between steps after all; empty if they do not.
    """

    child: str
    compute: Callable[[TrainState, Batch], Batch]
    obstacle: str = ""


@runtime_checkable
class Task(Protocol):
    """A kind of training, built from a recipe and a model.

    evaluates: whether `evaluate` can measure a test split. model_def: the model without its arrays.
    transformations: {name of a child: its optimizer as an optax transformation}.
    """

    recipe: Any
    evaluates: ClassVar[bool]
    model_def: ModelDef
    transformations: Transformations

    def initial_state(self) -> TrainState:
        """The state before the first step."""
        ...

    def prepare(self, batch: Batch, key: jax.Array) -> Batch:
        """A batch of training data, prepared for `step`: images as floats, transformed."""
        ...

    def prepare_test(self, batch: Batch) -> Batch:
        """A batch of test data, prepared for `evaluate`, without random draws."""
        ...

    def draw(self, key: jax.Array, batch_size: int) -> Batch:
        """The random numbers of one step."""
        ...

    def step(self, state: TrainState, batch: Batch, noise: Batch) -> tuple[TrainState, Batch]:
        """(the next state, the losses and metrics): a pure function, and the only function that trains."""
        ...

    def evaluate(self, state: TrainState, batch: Batch) -> Batch:
        """{metric: its sum over the examples} of a prepared batch of test data."""
        ...

    def precomputation(self) -> Precomputation | None:
        """What the engine computes once for every example before the first step; None if there is nothing."""
        ...

    def derived(self, record: Mapping[str, float]) -> dict[str, float]:
        """Metrics that follow from the means of a metrics record, such as the perplexity from the loss."""
        ...

    def save_images(self, state: TrainState, data: Data, path_of: PathOf) -> None:
        """Writes images that show the progress of training."""
        ...


@runtime_checkable
class Predictor(Task, Protocol):
    """Capability.PREDICT: outputs for arrays."""

    def predict(self, state: TrainState, batch: Batch) -> jax.Array:
        """The outputs (N, ...) for a prepared batch, in evaluation mode."""
        ...


@runtime_checkable
class Classifier(Task, Protocol):
    """Capability.CLASSIFY: a class for every example."""

    def classify(self, state: TrainState, batch: Batch) -> jax.Array:
        """The predicted classes (N,) of a prepared batch."""
        ...

    def labels(self, batch: Batch) -> jax.Array:
        """The true classes (N,) of a batch."""
        ...


@runtime_checkable
class Sampler(Task, Protocol):
    """Capability.SAMPLE: examples from latents.

    latent_shape: the shape of one latent. labelled: whether every sample has a class.
    """

    latent_shape: tuple[int, ...]
    labelled: bool

    def draw_latents(self, key: jax.Array, count: int) -> jax.Array:
        """(count, *latent_shape) of the distribution of the latents. ValueError if there is none."""
        ...

    def sample(self, state: TrainState, latents: jax.Array, labels: jax.Array | None = None) -> jax.Array:
        """Images (N, H, W, C) in [-1, 1], or rows (N, P), for latents (N, *latent_shape)."""
        ...


@runtime_checkable
class Translator(Task, Protocol):
    """Capability.TRANSLATE: images of one domain as images of the other domain.

    directions: {name of a direction: (the array of the source domain, that of the target domain)}.
    """

    directions: ClassVar[Mapping[str, tuple[str, str]]]

    def translate(self, state: TrainState, images: jax.Array, direction: str) -> jax.Array:
        """Images (N, H, W, C) in [-1, 1] of the target domain. ValueError for an unknown direction."""
        ...

    def translate_and_back(
        self, state: TrainState, images: jax.Array, direction: str
    ) -> tuple[jax.Array, jax.Array]:
        """(the translations, their translations back), (N, H, W, C) in [-1, 1] each."""
        ...


@dataclass(frozen=True)
class Answer:
    """The answer of a trained model to a question, as a table.

    columns, rows: the table. note: a line below the table. values: the content of the table as plain Python
    values. save: writes further files into a folder and returns their names; None if there are none.
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    values: Any
    note: str = ""
    save: Callable[[Path], list[str]] | None = field(default=None, compare=False)


@runtime_checkable
class Answerer(Task, Protocol):
    """Capability.ANSWER: answers to the questions that `Recipe.question` declares."""

    def answer(self, state: TrainState, meta: Mapping[str, Any], **question: Any) -> Answer:
        """The answer. meta: the metadata of the data set. ValueError for a bad question."""
        ...
