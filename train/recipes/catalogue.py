"""RECIPES: how each model is trained, one row per model.

The values of a row are for its default data set, which is embedded; training takes minutes on a CPU.
`overrides` has the values from the model's source (paper or tutorial) for the real data set. If the source
gives none, a row has cross-entropy, SGD with learning rate 1e-2 and momentum 0.9, and batches of 64.
"""

from typing import Any

from train.lookup import look_up
from train.optim import SGD, Adam, Optimizer, RMSprop
from train.recipes.base import Recipe
from train.recipes.generative import AutoencodeRecipe, CycleGANRecipe, GANRecipe
from train.recipes.supervised import (
    CaptionRecipe,
    ClassifyRecipe,
    LanguageRecipe,
    ReadRecipe,
    RegressRecipe,
    RewriteRecipe,
    SequenceRecipe,
    TagRecipe,
    TransferRecipe,
)

CENTRED = ("normalize:0.5:0.5",)  # [0, 1] -> [-1, 1]


def _on_digits(model: str, real: dict[str, Any] | None = None, **fields: Any) -> ClassifyRecipe:
    """A 28x28 classifier on the embedded digits. real: the fields that differ on mnist."""
    fields = {
        "epochs": 30,
        "expect": "over 95 % of the test digits, in a minute",
        "overrides": {"mnist": {"epochs": 5, **(real or {})}},
        **fields,
    }
    return ClassifyRecipe(model=model, dataset="digits", batch_size=64, **fields)


def _on_colour_digits(model: str, real: dict[str, Any] | None = None, **fields: Any) -> ClassifyRecipe:
    """A 32x32x3 classifier on the digits on photographs. real: the fields that differ on cifar10."""
    fields = {"epochs": 15, "transforms": CENTRED, "test_transforms": CENTRED, "batch_size": 64, **fields}
    return ClassifyRecipe(
        model=model,
        dataset="digits_on_photos",
        overrides={"cifar10": {"epochs": 10, **(real or {})}},
        **fields,
    )


def _on_photos(model: str, **fields: Any) -> ClassifyRecipe:
    """A large classifier on patches of two photographs."""
    fields = {"epochs": 1, "expect": "distinguishes the two photographs, in minutes on two cores", **fields}
    return ClassifyRecipe(
        model=model, dataset="photos", batch_size=32, transforms=CENTRED, test_transforms=CENTRED, **fields
    )


def _autoencoder(model: str, real_epochs: int, **fields: Any) -> AutoencodeRecipe:
    """An autoencoder on the embedded digits. real_epochs: the epochs on mnist and fashion_mnist."""
    overrides = {name: {"epochs": real_epochs} for name in ("mnist", "fashion_mnist")}
    return AutoencodeRecipe(model=model, dataset="digits", batch_size=128, overrides=overrides, **fields)


def _adam(lr: float) -> Adam:
    """Adam with the betas that adversarial networks use."""
    return Adam(lr=lr, betas=(0.5, 0.999))


def _same_optimizer(optimizer: Optimizer) -> dict[str, Any]:
    """The fields that give the generator and the discriminator the same optimizer."""
    return {"generator_optimizer": optimizer, "discriminator_optimizer": optimizer}


# The options that _augmented_gan sets, and their values in the sources.
_AUGMENTED: dict[str, Any] = {
    "translation": 2, "instance_noise": 0.5, "final_instance_noise": 0.5, "ema": 0.99
}  # fmt: skip
_PLAIN: dict[str, Any] = {
    "translation": None, "instance_noise": None, "final_instance_noise": 0.0, "ema": None
}  # fmt: skip


def _gan(
    model: str, optimizer: Optimizer | None = None, real: dict[str, Any] | None = None, **fields: Any
) -> GANRecipe:
    """A GAN for 28x28 on the embedded digits. real: the fields that differ on mnist."""
    on_mnist = {"epochs": 10, "take": 50_000, "shuffle": False, "sample_every": 250, **(real or {})}
    fields = {**_same_optimizer(optimizer or _adam(3e-4)), "batch_size": 128, **fields}
    return GANRecipe(model=model, dataset="digits", overrides={"mnist": on_mnist}, **fields)


def _augmented_gan(model: str, lr: float, real: dict[str, Any] | None = None, **fields: Any) -> GANRecipe:
    """A GAN for 28x28 whose discriminator sees moved and noisy images of the embedded digits.

    1,500 examples are few: the discriminator soon knows them by heart, and the generator collapses to a part
    of them. lr: the learning rate of the source, on mnist, where nothing is moved and no noise is added.
    """
    real = {**_PLAIN, **_same_optimizer(_adam(lr)), **(real or {})}
    return _gan(model, real=real, optimizer=_adam(1e-3), **_AUGMENTED, **fields)


def _forecaster(model: str) -> SequenceRecipe:
    """A recurrent network on the airline passengers; every step takes the whole series."""
    return SequenceRecipe(
        model=model,
        dataset="airline_passengers",
        batch_size=None,
        steps=1000,
        optimizer=Adam(lr=1e-2),
        expect="a training error under 3e-3, in seconds",
    )


_RECIPES = [
    # Regression
    RegressRecipe(
        model="linear_regression", dataset="points", batch_size=None, steps=1000, optimizer=SGD(lr=1e-3),
        expect="a loss below 0.43; the best possible loss is 0.169",
    ),
    RegressRecipe(
        model="polynomial_regression", dataset="polynomial", batch_size=32, steps=100_000, stop_below=1e-2,
        optimizer=SGD(lr=1e-3), expect="the four coefficients, with errors below 0.3",
    ),
    ClassifyRecipe(
        model="logistic_regression", dataset="iris_petals", batch_size=None, steps=20_000, log_every=2000,
        loss="bce", optimizer=SGD(lr=1e-3, momentum=0.9), expect="an accuracy of 0.94",
    ),
    RegressRecipe(
        model="two_layer_net", dataset="random_pairs", batch_size=None, steps=20, log_every=1, loss="sse",
        optimizer=SGD(lr=1e-6), expect="a loss below a tenth of the first one, after 20 steps",
    ),
    # Multilayer perceptrons
    _on_digits(
        "fashion_mlp",
        overrides={
            "fashion_mnist": {"epochs": 10, "shuffle": False, "optimizer": SGD(lr=1e-3)},
            "mnist": {"epochs": 10},
        },
    ),
    _on_digits(
        "mlp_bn", real={"epochs": 20}, transforms=CENTRED, test_transforms=CENTRED, optimizer=SGD(lr=1e-2)
    ),
    # Small convolutional classifiers
    _on_digits("lenet"),
    _on_digits("lenet5", transforms=("pad:2",), test_transforms=("pad:2",)),
    _on_digits("cnn_log_softmax", loss="nll"),
    _on_digits("cnn_same"),
    _on_digits("cnn_bn", transforms=CENTRED, test_transforms=CENTRED, optimizer=SGD(lr=1e-2)),
    _on_colour_digits("simple_cnn", expect="93 % of the test digits, in 4 minutes"),
    _on_colour_digits("cifar_quick", expect="94 % of the test digits, in 4 minutes"),
    # Large convolutional classifiers
    _on_photos("alexnet", epochs=5, optimizer=SGD(lr=2e-2, momentum=0.9)),
    *(_on_photos(f"vgg{depth}") for depth in (11, 13, 16, 19)),
    *(_on_photos(f"vgg{depth}_bn", optimizer=SGD(lr=2e-3, momentum=0.9)) for depth in (11, 13, 16, 19)),
    _on_photos("googlenet"),
    _on_photos("resnet18"),
    _on_photos("resnet34", optimizer=SGD(lr=2e-3, momentum=0.9)),
    _on_photos("resnet50"),
    _on_colour_digits(
        "resnet_cifar", batch_size=32, epochs=3, optimizer=Adam(lr=1e-3),
        expect="92 % of the test digits, in 3 minutes",
        real={
            "optimizer": Adam(lr=1e-2),
            "transforms": ("resize:40", "random_horizontal_flip", "random_crop:32", *CENTRED),
        },
    ),
    # Transfer learning
    TransferRecipe(
        model="transfer", dataset="photos", batch_size=4, epochs=2, transforms=CENTRED,
        test_transforms=CENTRED, expect="nine of ten test patches in a minute, with trunks of width 32",
        overrides={"cats_vs_dogs": {"image_size": 224, "image_fit": "crop"}},
    ),
    # Sequences. For ngram_lm and lstm_tagger log_every is one epoch: each line of metrics.jsonl is its mean.
    *(_forecaster(f"{cell}_regressor") for cell in ("lstm", "rnn", "gru")),
    LanguageRecipe(
        model="ngram_lm", dataset="sonnet", batch_size=1, shuffle=False, epochs=100, log_every=113,
        optimizer=SGD(lr=1e-2, weight_decay=1e-5),
        expect='a mean loss of 0.07; after "so gazed" it predicts "on"',
    ),
    TagRecipe(
        model="lstm_tagger", dataset="tagged_sentences", batch_size=1, shuffle=False, epochs=300, log_every=2,
        evaluate_every=60, optimizer=SGD(lr=1e-2), expect="the tags of a sentence that it was not trained on",
    ),
    # Sequences to sequences
    RewriteRecipe(
        model="seq2seq", dataset="dates", epochs=4, optimizer=Adam(lr=2e-3),
        expect="all unseen dates exact, in 4 minutes on one core",
    ),
    ReadRecipe(
        model="ctc_reader", dataset="digit_lines", batch_size=16, epochs=4, optimizer=Adam(lr=2e-3),
        expect="95 % of the unseen lines without an error, in 8 minutes on one core",
    ),
    CaptionRecipe(
        model="captioner", dataset="captions", options={"regions": 2}, batch_size=32, epochs=12,
        optimizer=Adam(lr=1e-3), transforms=CENTRED, test_transforms=CENTRED,
        expect="the words of a caption, but not yet the digits: 5 % of the unseen captions exact",
    ),
    # Autoencoders
    _autoencoder("autoencoder", 100, epochs=300, expect="a test loss of 47, in half a minute"),
    _autoencoder(
        "conv_autoencoder", 40, epochs=800, optimizer=Adam(lr=1e-3, weight_decay=1e-5),
        expect="a test loss of 21, in two minutes",
    ),
    _autoencoder("vae", 100, epochs=4000, loss="vae", expect="clear digits, in 3 minutes"),
    # Adversarial, on the embedded digits; the values for mnist are those of the models' sources
    _augmented_gan("gan", 3e-4, epochs=300, expect="readable digits, in 2 minutes"),
    _augmented_gan(
        "lsgan", 3e-4, epochs=300, loss="least_squares", expect="readable digits, in 2 minutes"
    ),
    _augmented_gan(
        "dcgan", 3e-4, real={"epochs": 5}, epochs=130,
        expect="readable digits with clean strokes, in 3 to 6 minutes on two cores",
    ),
    GANRecipe(
        model="dcgan64", dataset="photos", batch_size=16, epochs=24, loss="probability",
        latent_distribution="normal", translation=4, instance_noise=0.2, ema=0.99,
        **_same_optimizer(_adam(2e-4)), expect="sky, trees and petals, in 10 minutes on two cores",
        overrides={"cats_vs_dogs": {"batch_size": 128, "epochs": 5, **_PLAIN}},
    ),
    _augmented_gan(
        "mlp_gan", 2e-4, real={"epochs": 200, "sample_every": 400}, epochs=300, batch_size=64,
        loss="half_probability", latent_distribution="normal", expect="readable digits, in 2 minutes",
    ),
    GANRecipe(
        model="painter_gan", dataset="curves", batch_size=64, steps=10_000, loss="minimax",
        latent_distribution="normal", **_same_optimizer(Adam(lr=1e-4)),
        expect="curves between the bounds, in seconds",
    ),
    _gan(
        "wgan", epochs=500, batch_size=160, loss="wasserstein", critic_steps=5, weight_clip=0.01, ema=0.99,
        decay_after=0.3, generator_optimizer=RMSprop(lr=1e-3), discriminator_optimizer=RMSprop(lr=5e-4),
        expect="readable digits, in half an hour on one core",
        real={"batch_size": 320, "ema": None, "decay_after": 1.0, **_same_optimizer(RMSprop(lr=5e-5))},
    ),
    _gan(
        "wgan_gp", epochs=100, batch_size=160, loss="wasserstein", critic_steps=5, gradient_penalty=10.0,
        optimizer=Adam(lr=2e-4, betas=(0.0, 0.9)), expect="blurred digits, in 5 minutes",
        real={"batch_size": 320, **_same_optimizer(Adam(lr=1e-4, betas=(0.0, 0.9)))},
    ),
    _gan("cgan", epochs=120, expect="a row of digits for every class, in 6 minutes"),
    # CycleGAN: Zhu et al. 2017. It is narrow on the embedded pair, and as in the paper on folders of images.
    CycleGANRecipe(
        model="cyclegan", dataset="grey_to_colour", options={"width": 16, "blocks": 3}, batch_size=2,
        steps=6000, expect="digits on photographs, in grey from colour and in colour from grey, in 4 minutes",
        overrides={
            "folders": {
                "options": {}, "image_size": 256, "batch_size": 1, "epochs": 200, "steps": None,
                "transforms": ("random_horizontal_flip", *CENTRED),
            },
        },
    ),
]  # fmt: skip
RECIPES: dict[str, Recipe] = {recipe.model: recipe for recipe in _RECIPES}
RECIPE_CLASSES: dict[str, type[Recipe]] = {type(recipe).task: type(recipe) for recipe in _RECIPES}
"""The recipe class of every task, by the task's name."""


def find_recipe(model: str) -> Recipe:
    """RECIPES[model]. Errors: ValueError with near matches for an unknown model."""
    return look_up(RECIPES, model, "model")


def make_recipe(model: str, task: str, dataset: str, **fields: Any) -> Recipe:
    """The recipe of a model that is not in the catalogue, with the defaults of a task.

    model: "package.module:Class". fields: fields of the recipe class of the task; if neither `epochs` nor
    `steps` is given, the recipe has 10 epochs.
    Errors: ValueError for an unknown task or field, and for values that the recipe refuses.
    """
    cls = look_up(RECIPE_CLASSES, task, "task")
    if not {"epochs", "steps"} & fields.keys():
        fields["epochs"] = 10
    return cls(model=model, dataset=dataset, **fields)
