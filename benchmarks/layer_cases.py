"""CASES: the layers and the shapes that `benchmarks.layers` times."""

from typing import Any, NamedTuple


class Case(NamedTuple):
    """A layer and the shape of its input, channels last.

    kind: the name of the layer's class in both frameworks. args, kwargs: its arguments in both frameworks.
    """

    kind: str
    shape: tuple[int, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        arguments = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.kind}({', '.join(arguments)})"


def _case(kind: str, batch: int, shape: tuple[int, ...], *args: Any, **kwargs: Any) -> Case:
    """A layer on inputs of this shape, which does not include the batch axis."""
    return Case(kind, (batch, *shape), args, kwargs)


def _sequence(kind: str, steps: int, batch: int, *args: Any, **kwargs: Any) -> Case:
    """A recurrent layer on inputs (steps, batch, features); its first argument is the number of features."""
    return Case(kind, (steps, batch, args[0]), args, kwargs)


# First, the layers and shapes that the models have. A shape that several models have is named after the first
# of them. Then, the layers that no model has. Some batches are smaller than in the models, so that every call
# is short.
CASES: dict[str, Case] = {
    "lenet_1": _case("Conv2d", 64, (28, 28, 1), 1, 6, 3, padding=1),
    "lenet_2": _case("Conv2d", 64, (14, 14, 6), 6, 16, 5),
    "cnn_bn_1": _case("Conv2d", 64, (28, 28, 1), 1, 16, 3),
    "cnn_bn_2": _case("Conv2d", 64, (26, 26, 16), 16, 32, 3),
    "cnn_bn_3": _case("Conv2d", 64, (12, 12, 32), 32, 64, 3),
    "cnn_bn_4": _case("Conv2d", 64, (10, 10, 64), 64, 128, 3),
    "simple_cnn_1": _case("Conv2d", 64, (32, 32, 3), 3, 32, 3, padding=1),
    "simple_cnn_2": _case("Conv2d", 64, (16, 16, 32), 32, 64, 3, padding=1),
    "simple_cnn_3": _case("Conv2d", 64, (8, 8, 64), 64, 128, 3, padding=1),
    "cifar_quick_1": _case("Conv2d", 64, (32, 32, 3), 3, 32, 5, padding=2),
    "cifar_quick_2": _case("Conv2d", 64, (16, 16, 32), 32, 32, 5, padding=2),
    "cifar_quick_3": _case("Conv2d", 64, (8, 8, 32), 32, 64, 5, padding=2),
    "resnet_cifar_stem": _case("Conv2d", 32, (32, 32, 3), 3, 64, 7, stride=2, padding=3),
    "resnet_cifar_1": _case("Conv2d", 32, (14, 14, 64), 64, 64, 3, padding=1, bias=False),
    "resnet_cifar_2_down": _case("Conv2d", 32, (14, 14, 64), 64, 128, 3, stride=2, padding=1, bias=False),
    "resnet_cifar_2_skip": _case("Conv2d", 32, (14, 14, 64), 64, 128, 1, stride=2),
    "resnet_cifar_2": _case("Conv2d", 32, (7, 7, 128), 128, 128, 3, padding=1, bias=False),
    "resnet_cifar_3_down": _case("Conv2d", 32, (7, 7, 128), 128, 256, 3, stride=2, padding=1, bias=False),
    "resnet_cifar_3_skip": _case("Conv2d", 32, (7, 7, 128), 128, 256, 1, stride=2),
    "resnet_cifar_3": _case("Conv2d", 32, (4, 4, 256), 256, 256, 3, padding=1, bias=False),
    "resnet_cifar_4_down": _case("Conv2d", 32, (4, 4, 256), 256, 512, 3, stride=2, padding=1, bias=False),
    "resnet_cifar_4_skip": _case("Conv2d", 32, (4, 4, 256), 256, 512, 1, stride=2),
    "resnet_cifar_4": _case("Conv2d", 32, (2, 2, 512), 512, 512, 3, padding=1, bias=False),
    "dcgan_1": _case("Conv2d", 128, (28, 28, 1), 1, 32, 5),
    "dcgan_2": _case("Conv2d", 128, (12, 12, 32), 32, 64, 5),
    "resnet18_stem": _case("Conv2d", 32, (64, 64, 3), 3, 64, 7, stride=2, padding=3, bias=False),
    "resnet18_1": _case("Conv2d", 32, (16, 16, 64), 64, 64, 3, padding=1, bias=False),
    "resnet18_skip": _case("Conv2d", 32, (16, 16, 64), 64, 128, 1, stride=2, bias=False),
    "vgg_1": _case("Conv2d", 16, (64, 64, 3), 3, 64, 3, padding=1),
    "alexnet_1": _case("Conv2d", 32, (64, 64, 3), 3, 64, 11, stride=4, padding=2),
    "dcgan_up_1": _case("ConvTranspose2d", 128, (7, 7, 128), 128, 64, 4, stride=2, padding=1),
    "dcgan_up_2": _case("ConvTranspose2d", 128, (14, 14, 64), 64, 1, 4, stride=2, padding=1),
    "dcgan64_up_1": _case("ConvTranspose2d", 32, (1, 1, 100), 100, 512, 4, bias=False),
    "dcgan64_up_2": _case("ConvTranspose2d", 32, (4, 4, 512), 512, 256, 4, stride=2, padding=1, bias=False),
    "dcgan64_up_3": _case("ConvTranspose2d", 32, (8, 8, 256), 256, 128, 4, stride=2, padding=1, bias=False),
    "dcgan64_up_4": _case("ConvTranspose2d", 32, (16, 16, 128), 128, 64, 4, stride=2, padding=1, bias=False),
    "dcgan64_up_5": _case("ConvTranspose2d", 32, (32, 32, 64), 64, 3, 4, stride=2, padding=1, bias=False),
    "dcgan64_1": _case("Conv2d", 32, (64, 64, 3), 3, 64, 4, stride=2, padding=1, bias=False),
    "dcgan64_2": _case("Conv2d", 32, (32, 32, 64), 64, 128, 4, stride=2, padding=1, bias=False),
    "conv_autoencoder_1": _case("Conv2d", 128, (28, 28, 1), 1, 16, 3, stride=3, padding=1),
    "conv_autoencoder_2": _case("Conv2d", 128, (5, 5, 16), 16, 8, 3, stride=2, padding=1),
    "conv_autoencoder_up_1": _case("ConvTranspose2d", 128, (2, 2, 8), 8, 16, 3, stride=2),
    "conv_autoencoder_up_2": _case("ConvTranspose2d", 128, (5, 5, 16), 16, 8, 5, stride=3, padding=1),
    "conv_autoencoder_up_3": _case("ConvTranspose2d", 128, (15, 15, 8), 8, 1, 2, stride=2, padding=1),
    "cyclegan_first": _case("Conv2d", 1, (38, 38, 3), 3, 64, 7),
    "cyclegan_down": _case("Conv2d", 1, (32, 32, 64), 64, 128, 3, stride=2, padding=1),
    "cyclegan_inner": _case("Conv2d", 1, (10, 10, 256), 256, 256, 3),
    "cyclegan_up": _case(
        "ConvTranspose2d", 1, (8, 8, 256), 256, 128, 3, stride=2, padding=1, output_padding=1
    ),
    "cyclegan_last": _case("Conv2d", 1, (38, 38, 64), 64, 3, 7),
    "fashion_mlp": _case("Linear", 64, (784,), 784, 512),
    "dcgan_fc": _case("Linear", 128, (1024,), 1024, 6272),
    "alexnet_fc": _case("Linear", 16, (9216,), 9216, 4096),
    "mlp_bn": _case("BatchNorm1d", 64, (300,), 300),
    "dcgan_bn": _case("BatchNorm1d", 128, (6272,), 6272),
    "cnn_bn_bn": _case("BatchNorm2d", 64, (26, 26, 16), 16),
    "dcgan_up_bn": _case("BatchNorm2d", 128, (14, 14, 64), 64),
    "resnet_cifar_bn": _case("BatchNorm2d", 32, (2, 2, 512), 512),
    "cyclegan_in": _case("InstanceNorm2d", 1, (32, 32, 64), 64),
    "cyclegan_inner_in": _case("InstanceNorm2d", 1, (8, 8, 256), 256),
    "cnn_bn_max": _case("MaxPool2d", 64, (24, 24, 32), 2),
    "alexnet_max": _case("MaxPool2d", 32, (15, 15, 64), 3, stride=2),
    "resnet18_max": _case("MaxPool2d", 32, (32, 32, 64), 3, stride=2, padding=1),
    "resnet_cifar_max": _case("MaxPool2d", 32, (16, 16, 64), 3, stride=1),
    "resnet_cifar_avg": _case("AvgPool2d", 32, (2, 2, 512), 2),
    "inception_avg": _case("AvgPool2d", 32, (12, 12, 192), 3, stride=1, padding=1),
    "resnet18_avg": _case("AdaptiveAvgPool2d", 32, (2, 2, 512), 1),
    "alexnet_avg": _case("AdaptiveAvgPool2d", 32, (1, 1, 256), 6),
    "cyclegan_pad": _case("ReflectionPad2d", 1, (32, 32, 3), 3),
    "cyclegan_inner_pad": _case("ReflectionPad2d", 1, (8, 8, 256), 1),
    "ngram": _case("Embedding", 1, (2,), 97, 10),
    "lstm_regressor": _sequence("LSTM", 99, 1, 2, 4, 2),
    "gru_regressor": _sequence("GRU", 99, 1, 2, 4, 2),
    "rnn_regressor": _sequence("RNN", 99, 1, 2, 4, 2),
    "lstm_tagger": _sequence("LSTM", 5, 1, 150, 128),
    "lstm_tagger_characters": _sequence("LSTM", 9, 5, 10, 50),
    "seq2seq_cell": _case("GRUCell", 64, (320,), 320, 128),
    "alexnet_drop": _case("Dropout", 16, (9216,), 0.5),
    "gan_lrelu": _case("LeakyReLU", 128, (256,), 0.2),
    "dcgan64_lrelu": _case("LeakyReLU", 32, (32, 32, 64), 0.2),
    "cnn_bn_relu": _case("ReLU", 64, (26, 26, 16)),
    "gan_tanh": _case("Tanh", 128, (784,)),
    "mlp_gan_sigmoid": _case("Sigmoid", 64, (1,)),
    "cnn_log_softmax": _case("LogSoftmax", 64, (10,), 1),
    # Layers that no model has.
    "layer_norm": _case("LayerNorm", 64, (32, 128), 128),
    "layer_norm_image": _case("LayerNorm", 64, (14, 14, 64), (64, 14, 14)),
    "group_norm": _case("GroupNorm", 64, (14, 14, 64), 8, 64),
    "embedding": _case("Embedding", 64, (32,), 10000, 128),
    "lstm": _sequence("LSTM", 32, 32, 64, 64),
    "gru": _sequence("GRU", 32, 32, 64, 64),
    "rnn": _sequence("RNN", 32, 32, 64, 64),
    "maxout": _case("Maxout", 64, (784,), 784, 128, 4),
    "lp_pool": _case("LPPool2d", 32, (16, 16, 64), 2, 2),
    "adaptive_max": _case("AdaptiveMaxPool2d", 32, (13, 13, 64), 6),
    "upsample_nearest": _case("Upsample", 32, (16, 16, 64), scale_factor=2),
    "upsample_bilinear": _case("Upsample", 32, (16, 16, 64), scale_factor=2, mode="bilinear"),
    "zero_pad": _case("ZeroPad2d", 32, (16, 16, 64), 1),
    "dropout_2d": _case("Dropout2d", 32, (16, 16, 64), 0.5),
    "prelu": _case("PReLU", 32, (16, 16, 64), 64),
    "elu": _case("ELU", 32, (16, 16, 64)),
    "gelu": _case("GELU", 32, (16, 16, 64)),
    "silu": _case("SiLU", 32, (16, 16, 64)),
    "softplus": _case("Softplus", 32, (16, 16, 64)),
    "hardtanh": _case("Hardtanh", 32, (16, 16, 64)),
    "softmax": _case("Softmax", 64, (1000,), 1),
}  # fmt: skip
