"""Compares every layer with torch's eager layer: `python -m benchmarks.layers --layer Conv2d`.

Both have the same weights and the same input, in float32, in training mode, on JAX's default device. The Flax
layer takes channels last, torch's takes channels first. Each of these is timed on its own:

- forward: one call that keeps nothing for a backward pass (torch under no_grad); running statistics change.
- input gradient, weight gradient (with the bias): the backward pass alone, along a fixed cotangent, from the
  residuals of one earlier forward pass. torch: autograd.grad with retain_graph. Flax: the pullback of
  jax.vjp, jitted with its residuals as arguments; XLA removes what the gradient does not need.
- together: the forward pass and all gradients in one call. It is the fairest comparison. JAX computes some
  derivatives (of GELU, of an LSTM's gates) in the forward pass, which the backward lines do not include. It
  also keeps more residuals if the two passes are not compiled as one.

The last column is torch's time divided by Flax's: above 1, Flax is faster. All run in one process,
interleaved.
"""

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import torch_models.layers
from benchmarks.common import (
    device_name,
    on_jax,
    on_torch,
    table_head,
    table_line,
    torch_device,
    torch_tensor,
    write_rows,
)
from benchmarks.layer_cases import CASES, Case
from benchmarks.timing import Timing, interleaved
from benchmarks.workers.inputs import as_float32
from convert import to_torch
from flax_models import layers
from train.backend import compiler_options
from train.command_line import parse_flags, run_command
from train.lookup import look_up

PROG = "python -m benchmarks.layers"
COLUMNS = ("layer", "shape", "what", "Flax ms", "torch ms", "torch / Flax")
SLOW_RATIO = 0.8  # the last line of the output names the ratios below this
Calls = dict[str, Callable[[], object]]
"""{what is timed: the call}."""


@dataclass(frozen=True)
class Flags:
    """Compare the forward and backward passes of layers with torch eager."""

    layer: str = "all"
    """Name of a case (dcgan_1), of a layer (Conv2d), or "all"."""
    rounds: int = 7
    """Rounds, in each of which both layers are called three times."""
    json: Path | None = None
    """Also write the table to this file."""


@dataclass(frozen=True)
class Row:
    """The times of one call. shape: the shape of the input, channels last."""

    name: str
    layer: str
    shape: tuple[int, ...]
    what: str
    flax: Timing
    torch: Timing

    @property
    def ratio(self) -> float:
        """torch's time divided by Flax's."""
        return self.torch.median / self.flax.median

    @property
    def cells(self) -> tuple[Any, ...]:
        """The row of the table."""
        shape = "x".join(map(str, self.shape))
        return f"{self.name}: {self.layer}", shape, self.what, self.flax, self.torch, self.ratio


def find_cases(name: str) -> dict[str, Case]:
    """The case of this name, the cases of this layer, or all. ValueError with near matches otherwise."""
    groups = {"all": CASES}
    for case_name, case in CASES.items():
        groups.setdefault(case.kind, {})[case_name] = case
        groups[case_name] = {case_name: case}
    return look_up(groups, name, "layer")


def time_layer(name: str, case: Case, rounds: int) -> Iterator[Row]:
    """The rows of one case: the forward pass, and the gradients that it has."""
    flax_calls, torch_calls = timed_calls(case)
    for what, flax_call in flax_calls.items():
        timings = interleaved({"flax": flax_call, "torch": torch_calls[what]}, rounds=rounds)
        yield Row(name, str(case), case.shape, what, **timings)


def timed_calls(case: Case) -> tuple[Calls, Calls]:
    """(the calls in Flax, those in torch), with the same weights, input and cotangents."""
    layer, x = flax_layer(case), draw_input(case)
    outputs = jax.tree.leaves(jax.eval_shape(lambda: nnx.clone(layer)(x)))
    rng = np.random.default_rng(1)
    cotangents = [as_float32(rng.standard_normal(y.shape)) for y in outputs]
    twin = to_torch(layer, torch_layer(case)).to(torch_device())
    return _flax_calls(layer, x, cotangents), _torch_calls(twin, x, cotangents)


def flax_layer(case: Case) -> Any:
    """The layer of a case in Flax."""
    cls = getattr(layers, case.kind)
    seeded = {"rngs": nnx.Rngs(0)} if "rngs" in inspect.signature(cls.__init__).parameters else {}
    return cls(*case.args, **case.kwargs, **seeded)


def torch_layer(case: Case) -> torch.nn.Module:
    """The layer of a case in torch."""
    cls = getattr(torch.nn, case.kind, None) or getattr(torch_models.layers, case.kind)
    return cls(*case.args, **case.kwargs)


def draw_input(case: Case) -> np.ndarray:
    """The input of a case: values ~ N(0, 1), or indices for an Embedding."""
    rng = np.random.default_rng(0)
    if case.kind == "Embedding":
        return rng.integers(case.args[0], size=case.shape, dtype=np.int32)
    return as_float32(rng.standard_normal(case.shape))


def _flax_calls(layer: nnx.Module, x: np.ndarray, cotangents: list[np.ndarray]) -> Calls:
    graph, *state = nnx.split(layer, nnx.Param, ...)
    params, rest = map(nnx.to_pure_dict, state)
    options = compiler_options()

    def forward(params: Any, rest: Any, x: Any) -> tuple[list[Any], Any]:
        model: Any = nnx.merge(graph, params, rest)
        y = jax.tree.leaves(model(x))
        return y, nnx.to_pure_dict(nnx.state(model, nnx.Not(nnx.Param)))

    def with_pullback(params: Any, rest: Any, x: Any) -> tuple[Any, Any]:
        y, pullback, buffers = jax.vjp(lambda *p_x: forward(p_x[0], rest, p_x[1]), params, x, has_aux=True)
        return (y, buffers), pullback

    # What is timed -> the argument of the pullback's function that the gradient belongs to.
    arguments = {"input gradient": 1} if np.issubdtype(x.dtype, np.floating) else {}
    arguments |= {"weight gradient": 0} if params else {}

    def together(params: Any, rest: Any, x: Any, c: Any) -> tuple[Any, list[Any]]:
        outputs, pullback = with_pullback(params, rest, x)
        gradients = pullback(c)
        return outputs, [gradients[argument] for argument in arguments.values()]

    def backward(argument: int) -> Callable[[Any, Any], Any]:
        return lambda residuals, c: jax.tree.unflatten(structure, residuals)(c)[argument]

    inputs, c = (params, rest, jnp.asarray(x)), [*map(jnp.asarray, cotangents)]
    _, pullback = jax.jit(with_pullback, compiler_options=options)(*inputs)
    residuals, structure = jax.tree.flatten(pullback)
    return {
        "forward": on_jax(jax.jit(forward, compiler_options=options), *inputs),
        **{
            what: on_jax(jax.jit(backward(argument), compiler_options=options), residuals, c)
            for what, argument in arguments.items()
        },
        "together": on_jax(jax.jit(together, compiler_options=options), *inputs, c),
    }


def _torch_calls(layer: torch.nn.Module, x: np.ndarray, cotangents: list[np.ndarray]) -> Calls:
    device = torch_device()
    tensor = torch_tensor(x, device)
    c = [torch_tensor(cotangent, device) for cotangent in cotangents]
    parameters = [*layer.parameters()]
    arguments = {"input gradient": [tensor.requires_grad_()]} if tensor.is_floating_point() else {}
    arguments |= {"weight gradient": parameters} if parameters else {}

    def backward(y: list[torch.Tensor], of: list[torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(y, of, c, retain_graph=True)

    def together() -> object:
        y = jax.tree.leaves(layer(tensor))
        return y, torch.autograd.grad(y, [leaf for leaves in arguments.values() for leaf in leaves], c)

    y = jax.tree.leaves(layer(tensor))
    return {
        "forward": on_torch(_forward, layer, tensor, device=device),
        **{what: on_torch(backward, y, of, device=device) for what, of in arguments.items()},
        "together": on_torch(together, device=device),
    }


@torch.no_grad()
def _forward(layer: torch.nn.Module, tensor: torch.Tensor) -> object:
    return layer(tensor)


def summary(rows: list[Row]) -> str:
    """One line that names the rows whose ratio is below SLOW_RATIO."""
    slow = [f"{row.name} {row.what} ({row.ratio:.2f})" for row in rows if row.ratio < SLOW_RATIO]
    return f"Under {SLOW_RATIO}: {', '.join(slow) or 'none'}."


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
        write_rows(rows, flags.json)


if __name__ == "__main__":
    run_command(PROG, main)
