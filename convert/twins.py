"""TWINS: the inputs and the exported children of each model, one row per model."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from train.lookup import look_up
from train.tasks.models import model_options


@dataclass(frozen=True)
class Example:
    """The shape and the range of one input of a module.

    shape: without the batch axis, channels last. low, high: the bounds of uniform random values; if both are
    ints, the values are integers below `high`. A length in `shape`, or `high`, may be the name of an option
    of the model; `of` replaces the name by the option's value. batch_axis: the index of the batch axis.
    elastic: the axes of `shape` whose length may vary, such as time.
    """

    shape: tuple[int | str, ...]
    low: float = -1.0
    high: float | str = 1.0
    batch_axis: int = 0
    elastic: tuple[int, ...] = ()

    def of(self, options: Mapping[str, Any]) -> "Example":
        """The example with the names of options replaced by their values."""
        shape = tuple(options[n] if isinstance(n, str) else n for n in self.shape)
        high = options[self.high] if isinstance(self.high, str) else self.high
        return replace(self, shape=shape, high=high)

    def draw(self, rng: np.random.Generator, batch: int, longer: int = 0) -> np.ndarray:
        """A random input (batch, *shape), float64 or int64. longer: added to the length of elastic axes."""
        size, low, high = [], self.low, self.high
        assert not isinstance(high, str), f"`of` has not replaced the option {high}"
        for axis, length in enumerate(self.shape):
            assert isinstance(length, int), f"`of` has not replaced the option {length}"
            size.append(length + longer * (axis in self.elastic))
        size.insert(self.batch_axis, batch)
        if isinstance(low, int) and isinstance(high, int):
            return rng.integers(low, high, size)
        return rng.uniform(low, high, size)


class Method(NamedTuple):
    """The arguments of an exported method: the first `inputs` inputs of the module, and then integers."""

    inputs: int
    integers: tuple[int, ...] = ()


@dataclass(frozen=True)
class Twin:
    """What the certificate and the exports need to know about a model.

    examples: {child that is compared by itself: its inputs}; "" is the whole model. batch: {name: array} of a
    training step. exported: the children that are exported. tiny: the options of a small variant, for fast
    tests. methods: {exported method of the whole model: its arguments}. large: the certificate of the
    full-size model takes its training steps with the small variant. kept: the options that this small variant
    takes over from the full-size model.
    """

    examples: Mapping[str, tuple[Example, ...]]
    batch: Mapping[str, Example]
    exported: tuple[str, ...]
    tiny: Mapping[str, Any] = field(default_factory=dict)
    methods: Mapping[str, Method] = field(default_factory=dict)
    large: bool = False
    kept: tuple[str, ...] = ()

    def small(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """The options of the small variant of a model with these options."""
        return {**self.tiny, **{name: options[name] for name in self.kept if name in options}}


def _classifier(shape: tuple[int, ...], **fields: Any) -> Twin:
    """A classifier of images of this shape."""
    image = Example(shape)
    batch = {"image": image, "label": Example((), 0, "num_classes")}
    return Twin(examples={"": (image,)}, batch=batch, exported=("",), **fields)


def _regression(x: Example, y: Example, **fields: Any) -> Twin:
    return Twin(examples={"": (x,)}, batch={"x": x, "y": y}, exported=("",), **fields)


def _autoencoder(*latent: int | str, **fields: Any) -> Twin:
    """An autoencoder of 28x28 images with latents of this shape. Training steps call the whole model."""
    image = Example(_IMAGE)
    examples = {"encoder": (image,), "decoder": (Example(latent),)}
    return Twin(examples=examples, batch={"image": image}, exported=("encoder", "decoder"), **fields)


def _gan(
    latent: tuple[int | str, ...], example: tuple[int | str, ...], real: str = "image",
    labelled: bool = False, **fields: Any,
) -> Twin:  # fmt: skip
    """A GAN.

    latent, example: the shapes of the generator's input and output. real: the name of the real examples in a
    batch. labelled: generator and discriminator also take the class.
    """
    label = {"label": Example((), 0, "num_classes")} if labelled else {}
    examples = {
        "generator": (Example(latent), *label.values()),
        "discriminator": (Example(example), *label.values()),
    }
    return Twin(examples=examples, batch={real: Example(example), **label}, exported=("generator",), **fields)


_IMAGE, _COLOUR, _PHOTO = (28, 28, 1), (32, 32, 3), (64, 64, 3)
_WIDTH = {"num_classes": 10, "width": 8}
_WIDTHS = {**_WIDTH, "hidden_features": 32}
_LATENT = ("latent_features",)
_NARROW = {"hidden_features": 32, "channels": 4}
_FORECASTER = _regression(
    Example((6, "input_features"), batch_axis=1, elastic=(0,)), Example((6, 1), batch_axis=1, elastic=(0,))
)
_SENTENCES = {
    "words": Example((5,), 0, "vocabulary_size", elastic=(0,)),
    "characters": Example((5, 6), 0, "alphabet_size", elastic=(0, 1)),
    "lengths": Example((5,), 1, 7, elastic=(0,)),
}

_WRITING = {"greedy": Method(1, (9,)), "beam": Method(1, (3, 9))}
_TEXTS = {
    "source": Example((9,), 0, "source_size", elastic=(0,)),
    "target": Example((6,), 0, "target_size", elastic=(0,)),
}

_LINES = {"image": Example((32, 36, 1), elastic=(1,)), "width": Example((), 4, 37)}
_CAPTIONS = {"image": Example((32, 32, 3)), "caption": Example((6,), 0, "vocabulary_size", elastic=(0,))}

_TRANSLATORS = ("generator_ab", "generator_ba")
TWINS: dict[str, Twin] = {
    "linear_regression": _regression(Example(("in_features",)), Example((1,))),
    "polynomial_regression": _regression(Example((3,)), Example((1,))),
    "logistic_regression": _regression(Example(("in_features",)), Example((1,), 0.0, 1.0)),
    "two_layer_net": _regression(
        Example(("in_features",)), Example(("out_features",)), tiny={"hidden_features": 8}
    ),
    "fashion_mlp": _classifier(_IMAGE, tiny={"hidden_features": 16}),
    "mlp_bn": _classifier(_IMAGE, tiny={"hidden_features": 24}),
    "lenet": _classifier(_IMAGE),
    "lenet5": _classifier((32, 32, 1)),
    "cnn_log_softmax": _classifier(_IMAGE),
    "cnn_same": _classifier(_IMAGE),
    "cnn_bn": _classifier(_IMAGE, tiny={"width": 4, "hidden_features": 32}),
    "simple_cnn": _classifier(_COLOUR, tiny={"width": 4, "hidden_features": 32}),
    "cifar_quick": _classifier(_COLOUR),
    "alexnet": _classifier(_PHOTO, tiny=_WIDTHS, large=True),
    "vgg11": _classifier(_COLOUR, tiny=_WIDTHS, large=True),
    "vgg13": _classifier(_COLOUR, tiny=_WIDTHS, large=True),
    "vgg16": _classifier(_COLOUR, tiny=_WIDTHS, large=True),
    "vgg19": _classifier(_COLOUR, tiny=_WIDTHS, large=True),
    "vgg11_bn": _classifier(_COLOUR, tiny=_WIDTHS, large=True),
    "vgg13_bn": _classifier(_COLOUR, tiny=_WIDTHS, large=True),
    "vgg16_bn": _classifier(_COLOUR, tiny=_WIDTHS, large=True),
    "vgg19_bn": _classifier(_COLOUR, tiny=_WIDTHS, large=True),
    "googlenet": _classifier(_PHOTO, tiny=_WIDTH, large=True),
    "resnet18": _classifier(_PHOTO, tiny=_WIDTH, large=True),
    "resnet34": _classifier(_PHOTO, tiny=_WIDTH, large=True),
    "resnet50": _classifier(_PHOTO, tiny=_WIDTH, large=True),
    "resnet_cifar": _classifier(_COLOUR, tiny=_WIDTH),
    "transfer": _classifier(
        _PHOTO, tiny={"width": 8, "hidden_features": 16}, large=True, kept=("trunks", "trained")
    ),
    "lstm_regressor": _FORECASTER,
    "rnn_regressor": _FORECASTER,
    "gru_regressor": _FORECASTER,
    "ngram_lm": _regression(
        Example((2,), 0, "vocabulary_size"), Example((), 0, "vocabulary_size"), tiny={"hidden_features": 16}
    ),
    "lstm_tagger": Twin(
        examples={"": tuple(_SENTENCES.values())},
        batch={**_SENTENCES, "tags": Example((5,), -1, "num_tags")},
        exported=("",),
        tiny={"word_features": 12, "character_features": 5, "character_hidden": 6, "hidden_features": 16},
    ),
    "seq2seq": Twin(
        examples={"": tuple(_TEXTS.values())},
        batch=_TEXTS,
        exported=("",),
        tiny={"source_size": 12, "target_size": 7, "embedding_features": 6, "hidden_features": 8},
        methods=_WRITING,
    ),
    "ctc_reader": Twin(
        examples={"": tuple(_LINES.values())},
        batch={**_LINES, "label": Example((4,), 1, "num_symbols"), "length": Example((), 0, 5)},
        exported=("",),
        tiny={"width": 2, "hidden_features": 8},
        methods={"greedy": Method(2), "beam": Method(2, (4,))},
    ),
    "captioner": Twin(
        examples={"": tuple(_CAPTIONS.values())},
        batch=_CAPTIONS,
        exported=("",),
        tiny={"vocabulary_size": 9, "width": 2, "regions": 2, "embedding_features": 6, "hidden_features": 8},
        methods=_WRITING,
    ),
    "autoencoder": _autoencoder("latent_features", tiny={"hidden_features": 16}),
    "conv_autoencoder": _autoencoder(2, 2, "latent_features"),
    "vae": _autoencoder("latent_features", tiny={"hidden_features": 16}),
    "gan": _gan(_LATENT, _IMAGE, tiny={"hidden_features": 32}),
    "lsgan": _gan(_LATENT, _IMAGE, tiny={"hidden_features": 32}),
    "dcgan": _gan(_LATENT, _IMAGE, tiny=_NARROW),
    "dcgan64": _gan((1, 1, *_LATENT), _PHOTO, tiny={"channels": 4}),
    "mlp_gan": _gan(_LATENT, _IMAGE, tiny={"hidden_features": 8}),
    "painter_gan": _gan(_LATENT, ("points",), real="x"),
    "wgan": _gan(_LATENT, _IMAGE, tiny=_NARROW),
    "wgan_gp": _gan(_LATENT, _IMAGE, tiny=_NARROW),
    "cgan": _gan(_LATENT, _IMAGE, labelled=True, tiny=_NARROW),
    "cyclegan": Twin(
        examples={
            child: (Example(_COLOUR),) for child in (*_TRANSLATORS, "discriminator_a", "discriminator_b")
        },
        batch={"a": Example(_COLOUR), "b": Example(_COLOUR)},
        exported=_TRANSLATORS,
        tiny={"width": 4, "blocks": 1},
        large=True,
    ),
}


def find_twin(model: str, options: Mapping[str, Any] | None = None) -> Twin:
    """The row of a model, with the names of options in its examples replaced by their values.

    options: the options of the model that differ from the defaults of its class.
    Errors: ValueError with near matches for an unknown model, and for a user's own model (module:Class).
    """
    if ":" in model:
        raise ValueError(
            f"{model} has no twin in the catalogue; "
            "convert.to_torch(run.model, torch_module) converts it into your torch module"
        )
    twin = look_up(TWINS, model, "model")
    known = {**model_options(model), **(options or {})}
    examples = {child: tuple(e.of(known) for e in inputs) for child, inputs in twin.examples.items()}
    batch = {name: example.of(known) for name, example in twin.batch.items()}
    return replace(twin, examples=examples, batch=batch)


def child_of(model: Any, child: str) -> Any:
    """The child of a Flax or torch model with this name; "" is the model itself."""
    return getattr(model, child) if child else model
