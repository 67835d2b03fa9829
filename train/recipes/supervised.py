"""The recipes of the tasks that learn from examples with targets."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from train.data.labels import fit_labels
from train.data.sources import Data
from train.optim import SGD, Adam, Optimizer
from train.recipes.base import Capability, FirstWeights, ImageRecipe, Question, Recipe

# The defaults of those options of the model transfer that its recipe reads.
TRANSFER_OPTIONS: Mapping[str, Any] = {"trunks": "resnet18", "trained": "all", "width": 64}


@dataclass(frozen=True, kw_only=True)
class ClassifyRecipe(ImageRecipe):
    """Classification, with the accuracy in training and on the test split."""

    task: ClassVar[str] = "classify"
    kinds: ClassVar[tuple[str, ...]] = ("image", "labelled")
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.CLASSIFY, Capability.PREDICT, Capability.ANSWER}
    )
    question: ClassVar[Question] = Question(("files", "top"), required=("files",))
    step_fields: ClassVar[tuple[str, ...]] = ("loss",)

    loss: Literal["cross_entropy", "nll", "bce"] = "cross_entropy"
    """cross_entropy: on logits; nll: on log-probabilities; bce: two classes, on one probability."""
    optimizer: Optimizer = SGD(lr=1e-2, momentum=0.9)
    """torch's optimizer."""

    def fit_data(self, data: Data, run_meta: Mapping[str, Any] | None = None) -> Data:
        return fit_labels(data, self.loss == "bce", run_meta)


@dataclass(frozen=True, kw_only=True)
class TransferRecipe(ClassifyRecipe):
    """Classification by a new head on trained trunks, which are trained further or frozen.

    The model's options choose the trunks (`trunks`) and what is trained (`trained`: "all" or "head").
    """

    task: ClassVar[str] = "transfer"
    kinds: ClassVar[tuple[str, ...]] = ("image",)

    loss: Literal["cross_entropy"] = "cross_entropy"
    """cross_entropy: on logits."""
    optimizer: Optimizer = Adam(lr=1e-4)
    """torch's optimizer."""
    trunk_runs: tuple[str, ...] = ()
    """Run folders that give the trunks their first weights, one per trunk, in the order of the trunks."""
    cache_features: bool = True
    """Compute the features of frozen trunks once, if no transform draws random numbers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self._option("trained") not in ("all", "head"):
            raise ValueError(f"the option trained is all or head, got {self._option('trained')!r}")
        if len(self.trunk_runs) not in (0, len(self._trunks)):
            raise ValueError(
                f"trunk_runs names one run per trunk: the trunks are {', '.join(self._trunks)}, and "
                f"{len(self.trunk_runs)} runs are given"
            )

    @property
    def optimizers(self) -> dict[str, Optimizer]:
        return {"head" if self._option("trained") == "head" else "": self.optimizer}

    @property
    def first_weights(self) -> Mapping[str, FirstWeights]:
        options = {"width": self._option("width"), "transform_input": False}
        return {
            f"trunks.{number}": FirstWeights(trunk, run, options)
            for number, (trunk, run) in enumerate(zip(self._trunks, self.trunk_runs, strict=False))
        }

    def require_first_weights(self) -> None:
        if "head" in self.optimizers and not self.trunk_runs:
            names, width = " and ".join(self._trunks), self._option("width")
            raise ValueError(
                "frozen trunks need trained weights: give --trunk-runs RUN, one per trunk. RUN is a run of "
                f"{names} of width {width} that python -m train.run has trained, or that "
                "python -m convert to-flax has made from PyTorch weights"
            )

    @property
    def _trunks(self) -> list[str]:
        return str(self._option("trunks")).split("+")

    def _option(self, name: str) -> Any:
        return self.options.get(name, TRANSFER_OPTIONS[name])


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
    question: ClassVar[Question] = Question(
        ("context", "top"), required=("context",), example={"context": "so gazed"}
    )
    step_fields: ClassVar[tuple[str, ...]] = ("loss",)

    loss: Literal["cross_entropy"] = "cross_entropy"
    """cross_entropy: on logits."""
    optimizer: Optimizer = SGD(lr=1e-2)
    """torch's optimizer."""


@dataclass(frozen=True, kw_only=True)
class TagRecipe(Recipe):
    """Tagging the words of sentences: cross-entropy and accuracy over the words, without the padding."""

    task: ClassVar[str] = "tag"
    kinds: ClassVar[tuple[str, ...]] = ("tagged",)
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.ANSWER})
    question: ClassVar[Question] = Question(
        ("sentence",), required=("sentence",), example={"sentence": "Everybody ate the apple"}
    )

    optimizer: Optimizer = SGD(lr=1e-2)
    """torch's optimizer."""


@dataclass(frozen=True, kw_only=True)
class RewriteRecipe(Recipe):
    """Writing a text as another text: cross-entropy over its characters, and the fraction of exact texts."""

    task: ClassVar[str] = "rewrite"
    kinds: ClassVar[tuple[str, ...]] = ("text_pairs",)
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.ANSWER})
    question: ClassVar[Question] = Question(
        ("text", "top"), required=("text",), example={"text": "4 mars 2021"}
    )

    optimizer: Optimizer = Adam(lr=1e-3)
    """torch's optimizer."""


@dataclass(frozen=True, kw_only=True)
class ReadRecipe(ImageRecipe):
    """Reading the image of a line as its text: the CTC loss, and the fraction of lines without an error."""

    task: ClassVar[str] = "read"
    kinds: ClassVar[tuple[str, ...]] = ("lines",)
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.ANSWER})
    question: ClassVar[Question] = Question(
        ("positions", "files", "top"), required=("positions", "files"), example={"positions": (0, 1, 2)}
    )

    optimizer: Optimizer = Adam(lr=1e-3)
    """torch's optimizer."""


@dataclass(frozen=True, kw_only=True)
class CaptionRecipe(ImageRecipe):
    """Writing a caption for an image: cross-entropy over its words, and the fraction of exact captions."""

    task: ClassVar[str] = "caption"
    kinds: ClassVar[tuple[str, ...]] = ("captions",)
    capabilities: ClassVar[frozenset[Capability]] = frozenset({Capability.ANSWER})
    question: ClassVar[Question] = Question(
        ("positions", "files", "top"), required=("positions", "files"), example={"positions": (0, 1, 2)}
    )

    optimizer: Optimizer = Adam(lr=1e-3)
    """torch's optimizer."""
