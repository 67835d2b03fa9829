"""Outputs of the modules of a model, in both frameworks, in the order of their calls."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

from convert.certificate.recording import record_flax_outputs, recorded_torch_outputs, report_calls
from flax_models import layers


class Scale(nnx.Module):
    """Multiplies its input."""

    def __init__(self, factor: float):
        self.factor = factor

    def __call__(self, x: Any) -> Any:
        return self.factor * x


class Inherits(Scale):
    """A module whose __call__ is its base class's."""


class Twice(nnx.Module):
    """Calls `inner` twice and `late` first."""

    def __init__(self):
        self.inner, self.late = Inherits(2.0), Inherits(10.0)

    def __call__(self, x: Any) -> Any:
        return self.inner(self.inner(self.late(x)))


class TorchScale(torch.nn.Module):
    def __init__(self, factor: float):
        super().__init__()
        self.factor = factor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.factor * x


class TorchTwice(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.late = TorchScale(2.0), TorchScale(10.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.inner(self.late(x)))


def test_an_inherited_call_is_recorded():
    model = Inherits(3.0)
    outputs = record_flax_outputs(model)
    model(jnp.ones(2))
    np.testing.assert_array_equal(outputs[""], [3, 3])
    assert list(outputs) == [""]


def test_the_class_of_other_instances_is_untouched():
    model, other = Inherits(3.0), Inherits(3.0)
    outputs = record_flax_outputs(model)
    other(jnp.ones(2))
    assert outputs == {} and type(other) is Inherits and isinstance(model, Inherits)


def test_a_sequential_is_recorded_with_its_children():
    model = layers.Sequential(Scale(2.0), layers.Sequential(Scale(3.0), layers.ReLU()))
    outputs = record_flax_outputs(model)
    model(jnp.array([1.0, -1.0]))
    assert list(outputs) == ["0", "1.0", "1.1", "1", ""]  # in the order in which the calls end
    np.testing.assert_array_equal(outputs["1.0"], [6, -6])
    np.testing.assert_array_equal(outputs["1"], [6, 0])
    np.testing.assert_array_equal(outputs[""], outputs["1"])


def test_of_a_module_that_is_called_twice_the_last_output_counts_as_in_torch():
    model, twin = Twice(), TorchTwice()
    outputs = record_flax_outputs(model)
    model(jnp.ones(1))
    with recorded_torch_outputs(twin) as theirs:
        twin(torch.ones(1))
    assert list(outputs) == list(theirs) == ["late", "inner", ""]
    assert {name: float(value[0]) for name, value in outputs.items()} == {"late": 10, "inner": 40, "": 40}
    assert all(theirs[name].item() == float(outputs[name][0]) for name in theirs)


def test_every_call_is_reported():
    model = Twice()
    calls: list[tuple[str, float]] = []
    report_calls(model, lambda path, output: calls.append((path, float(output[0]))))
    model(jnp.ones(1))
    assert calls == [("late", 10), ("inner", 20), ("inner", 40), ("", 40)]


def test_only_the_asked_kind_and_method_are_reported():
    model = layers.Sequential(layers.Dropout(0.5, rngs=nnx.Rngs(0)), Scale(2.0))
    paths: list[str] = []
    report_calls(model, lambda path, mask: paths.append(path), method="draw_mask", kind=layers.Dropout)
    model(jnp.ones(4))
    assert paths == ["0"]


def test_after_the_context_torch_records_nothing():
    twin = TorchTwice()
    with recorded_torch_outputs(twin) as outputs:
        pass
    twin(torch.ones(1))
    assert outputs == {}
