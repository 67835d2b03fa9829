"""Every layer against torch's, eager: `python -m benchmarks.layers --layer Conv2d`.

Both have the same weights and the same input, float32, in training mode, on JAX's default device. Ours
takes channels last, torch its channels first. Timed are, each by itself:

- forward: one call, nothing kept for a backward pass (torch under no_grad); running statistics move.
- input gradient, weight gradient (biases too): the backward pass alone, along a fixed cotangent, from what
  one earlier forward pass kept. torch: autograd.grad with retain_graph. Ours: the pullback of jax.vjp,
  jitted with what it kept as arguments; XLA drops what the one gradient does not need.
- together: forward and every gradient in one call, from nothing. The fairest line: JAX computes some slopes
  (GELU's, an LSTM's gates') on its way forward, which the lines above leave out, and on the other hand
  keeps more arrays where the two passes are not compiled as one.

Above 1 in the last column, ours is the faster. Everything runs in one process, interleaved.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import torch_models.layers
from benchmarks.common import (
    device_name,
    float32,
    on_jax,
    on_torch,
    table_head,
    table_line,
    torch_device,
    torch_tensor,
    write_json,
)
from benchmarks.timing import Timing, interleaved
from convert import to_torch
from flax_models import layers
from train.command_line import parse_flags, run_command
from train.engine.devices import compiler_options
from train.lookup import look_up

PROG = "python -m benchmarks.layers"
COLUMNS = ("layer", "shape", "what", "Flax ms", "torch ms", "torch / Flax")
SLOW = 0.8  # the last line names what is under it
Calls = dict[str, Callable[[], object]]  # {what: call}


class Case(NamedTuple):
    """A layer by its name on both sides, its arguments, which are the same, and its input, channels last."""

    kind: str
    shape: tuple[int, ...]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def __str__(self) -> str:
        arguments = [*map(repr, self.args), *(f"{name}={value!r}" for name, value in self.kwargs.items())]
        return f"{self.kind}({', '.join(arguments)})"


def _case(kind: str, batch: int, shape: tuple[int, ...], *args: Any, **kwargs: Any) -> Case:
    """shape: of the input without the batch axis."""
    return Case(kind, (batch, *shape), args, kwargs)


def _sequence(kind: str, steps: int, batch: int, *args: Any, **kwargs: Any) -> Case:
    """A recurrent layer on (steps, batch, its first argument)."""
    return Case(kind, (steps, batch, args[0]), args, kwargs)


# The distinct shapes of the models, a shape that several have under the first one's name; then the layers
# that no model has. Some batches are smaller than the models' own, so that no call takes long.
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
    "alexnet_drop": _case("Dropout", 16, (9216,), 0.5),
    "gan_lrelu": _case("LeakyReLU", 128, (256,), 0.2),
    "dcgan64_lrelu": _case("LeakyReLU", 32, (32, 32, 64), 0.2),
    "cnn_bn_relu": _case("ReLU", 64, (26, 26, 16)),
    "gan_tanh": _case("Tanh", 128, (784,)),
    "mlp_gan_sigmoid": _case("Sigmoid", 64, (1,)),
    "cnn_log_softmax": _case("LogSoftmax", 64, (10,), 1),
    # Of no model.
    "layer_norm": _case("LayerNorm", 64, (32, 128), 128),
    "layer_norm_picture": _case("LayerNorm", 64, (14, 14, 64), (64, 14, 14)),
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


@dataclass(frozen=True)
class Flags:
    """Time layers, forward and backward, against torch eager."""

    layer: str = "all"
    """Name of a case (dcgan_1), of a layer (Conv2d), or "all"."""
    rounds: int = 7
    """Rounds, in each of which either side is called three times."""
    json: Path | None = None
    """Also write the table to this file."""


@dataclass(frozen=True)
class Row:
    """Milliseconds of one call; shape: of the input, channels last."""

    name: str
    layer: str
    shape: tuple[int, ...]
    what: str
    flax: Timing
    torch: Timing

    @property
    def ratio(self) -> float:
        return self.torch.median / self.flax.median

    @property
    def cells(self) -> tuple[Any, ...]:
        shape = "x".join(map(str, self.shape))
        return f"{self.name}: {self.layer}", shape, self.what, self.flax, self.torch, self.ratio


def find_cases(name: str) -> dict[str, Case]:
    """The case of this name, those of a layer, or all; ValueError with near matches for another name."""
    groups = {"all": CASES}
    for case_name, case in CASES.items():
        groups.setdefault(case.kind, {})[case_name] = case
        groups[case_name] = {case_name: case}
    return look_up(groups, name, "layer")


def time_layer(name: str, case: Case, rounds: int) -> Iterator[Row]:
    """The rows of one case: forward, and the gradients that it has."""
    ours, theirs = timed_calls(case)
    for what, call in ours.items():
        timings = interleaved({"flax": call, "torch": theirs[what]}, rounds=rounds)
        yield Row(name, str(case), case.shape, what, **timings)


def timed_calls(case: Case) -> tuple[Calls, Calls]:
    """Ours and torch's, of the same weights, input and cotangents."""
    layer, x = our_layer(case), draw_input(case)
    outputs = jax.tree.leaves(jax.eval_shape(lambda: nnx.clone(layer)(x)))
    rng = np.random.default_rng(1)
    cotangents = [float32(rng.standard_normal(y.shape)) for y in outputs]
    theirs = to_torch(layer, their_layer(case)).to(torch_device())
    return _our_calls(layer, x, cotangents), _their_calls(theirs, x, cotangents)


def our_layer(case: Case) -> nnx.Module:
    cls = getattr(layers, case.kind)
    seeded = {"rngs": nnx.Rngs(0)} if "rngs" in inspect.signature(cls.__init__).parameters else {}
    return cls(*case.args, **case.kwargs, **seeded)


def their_layer(case: Case) -> torch.nn.Module:
    cls = getattr(torch.nn, case.kind, None) or getattr(torch_models.layers, case.kind)
    return cls(*case.args, **case.kwargs)


def draw_input(case: Case) -> np.ndarray:
    """Normal values; of an Embedding, places in its table."""
    rng = np.random.default_rng(0)
    if case.kind == "Embedding":
        return rng.integers(case.args[0], size=case.shape, dtype=np.int32)
    return float32(rng.standard_normal(case.shape))


def _our_calls(layer: nnx.Module, x: np.ndarray, cotangents: list[np.ndarray]) -> Calls:
    graph, *state = nnx.split(layer, nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, state)
    options = compiler_options()

    def forward(params, rest, x):
        model = nnx.merge(graph, params, rest)
        y = jax.tree.leaves(model(x))
        return y, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Param)))

    def with_pullback(params, rest, x):
        y, pullback, buffers = jax.vjp(lambda *p_x: forward(p_x[0], rest, p_x[1]), params, x, has_aux=True)
        return (y, buffers), pullback

    wanted = {"input gradient": 1} if np.issubdtype(x.dtype, np.floating) else {}
    wanted |= {"weight gradient": 0} if params else {}

    def together(params, rest, x, c):
        outputs, pullback = with_pullback(params, rest, x)
        gradients = pullback(c)
        return outputs, [gradients[place] for place in wanted.values()]

    def backward(place: int):
        return lambda saved, c: jax.tree.unflatten(around, saved)(c)[place]

    inputs, c = (params, rest, jnp.asarray(x)), [*map(jnp.asarray, cotangents)]
    _, pullback = jax.jit(with_pullback, compiler_options=options)(*inputs)
    saved, around = jax.tree.flatten(pullback)
    return {
        "forward": on_jax(jax.jit(forward, compiler_options=options), *inputs),
        **{
            what: on_jax(jax.jit(backward(place), compiler_options=options), saved, c)
            for what, place in wanted.items()
        },
        "together": on_jax(jax.jit(together, compiler_options=options), *inputs, c),
    }


def _their_calls(layer: torch.nn.Module, x: np.ndarray, cotangents: list[np.ndarray]) -> Calls:
    device = torch_device()
    tensor = torch_tensor(x, device)
    along = [torch_tensor(c, device) for c in cotangents]
    parameters = [*layer.parameters()]
    wanted = {"input gradient": [tensor.requires_grad_()]} if tensor.is_floating_point() else {}
    wanted |= {"weight gradient": parameters} if parameters else {}

    def backward(y: list[torch.Tensor], of: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(y, of, along, retain_graph=True)

    def together() -> object:
        y = jax.tree.leaves(layer(tensor))
        return y, torch.autograd.grad(y, [leaf for leaves in wanted.values() for leaf in leaves], along)

    y = jax.tree.leaves(layer(tensor))
    return {
        "forward": on_torch(_forward, layer, tensor, device=device),
        **{what: on_torch(backward, y, of, device=device) for what, of in wanted.items()},
        "together": on_torch(together, device=device),
    }


@torch.no_grad()
def _forward(layer: torch.nn.Module, tensor: torch.Tensor) -> object:
    return layer(tensor)


def summary(rows: list[Row]) -> str:
    """One line that names what is slow."""
    slow = [f"{row.name} {row.what} ({row.ratio:.2f})" for row in rows if row.ratio < SLOW]
    return f"Under {SLOW}: {', '.join(slow) or 'none'}."


def main(args: list[str]) -> None:
    flags = parse_flags(Flags, args, prog=PROG)
    cases = find_cases(flags.layer)
    print(f"{device_name()}, rounds: {flags.rounds}\n\n{table_head(COLUMNS)}", flush=True)
    rows = []
    for name, case in cases.items():
        for row in time_layer(name, case, flags.rounds):
            rows.append(row)
            print(table_line(row.cells), flush=True)
    print(f"\n{summary(rows)}")
    if flags.json:
        write_json(rows, flags.json)


if __name__ == "__main__":
    run_command(PROG, main)
