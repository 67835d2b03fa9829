"""The recipes of the tasks that learn from examples with targets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from train.data.labels import fit_labels
from train.data.sources import Data
from train.optim import SGD, Optimizer
from train.recipes.base import Capability, ImageRecipe, Question, Recipe


@dataclass(frozen=True, kw_only=True)
class ClassifyRecipe(ImageRecipe):
    """Classification, with the accuracy in training and on the test split."""

    task: ClassVar[str] = "classify"
    kinds: ClassVar[tuple[str, ...]] = ("image", "labelled")
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.CLASSIFY, Capability.PREDICT, Capability.ANSWER}
    )
    question: ClassVar[Question] = Question(("files", "top"), required="files")
    step_fields: ClassVar[tuple[str, ...]] = ("loss",)

    loss: Literal["cross_entropy", "nll", "bce"] = "cross_entropy"
    """cross_entropy: on logits; nll: on log-probabilities; bce: two classes, on one probability."""
    optimizer: Optimizer = SGD(lr=1e-2, momentum=0.9)
    """torch's optimizer."""

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"": self.optimizer}

    def fit_data(self, data: Data, run_meta: Mapping[str, Any] | None = None) -> Data:
        return fit_labels(data, self.loss == "bce", run_meta)


@dataclass(frozen=True, kw_only=True)
class RegressRecipe(Recipe):
    """Regression: fitting numbers."""

    task: ClassVar[str] = "regress"
    kinds: ClassVar[tuple[str, ...]] = ("table",)
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.PREDICT})
    step_fields: ClassVar[tuple[str, ...]] = ("loss",)

    loss: Literal["mse", "sse"] = "mse"
    """mse: the mean of the squared errors; sse: their sum."""
    optimizer: Optimizer = SGD(lr=1e-3)
    """torch's optimizer."""

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"": self.optimizer}


@dataclass(frozen=True, kw_only=True)
class SequenceRecipe(RegressRecipe):
    """Forecasting a time series: the next value at every step."""

    task: ClassVar[str] = "sequence"
    kinds: ClassVar[tuple[str, ...]] = ("forecast",)
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.ANSWER})
    question: ClassVar[Question] = Question(("steps_ahead",))

    loss: Literal["mse"] = "mse"
    """mse: the mean of the squared errors over the steps."""
    window: int = 2
    """Values that the model sees at every step: its option input_features."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_at_least(1, "window")


@dataclass(frozen=True, kw_only=True)
class LanguageRecipe(Recipe):
    """Predicting the next word, with accuracy and perplexity."""

    task: ClassVar[str] = "language"
    kinds: ClassVar[tuple[str, ...]] = ("text",)
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.ANSWER})
    question: ClassVar[Question] = Question(("context", "top"), required="context")
    step_fields: ClassVar[tuple[str, ...]] = ("loss",)

    loss: Literal["cross_entropy"] = "cross_entropy"
    """cross_entropy: on logits."""
    optimizer: Optimizer = SGD(lr=1e-2)
    """torch's optimizer."""

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"": self.optimizer}


@dataclass(frozen=True, kw_only=True)
class TagRecipe(Recipe):
    """Tagging the words of sentences: cross-entropy and accuracy over the words, without the padding."""

    task: ClassVar[str] = "tag"
    kinds: ClassVar[tuple[str, ...]] = ("tagged",)
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.ANSWER})
    question: ClassVar[Question] = Question(("sentence",), required="sentence")

    optimizer: Optimizer = SGD(lr=1e-2)
    """torch's optimizer."""

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"": self.optimizer}
