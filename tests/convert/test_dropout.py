"""Dropout masks by path: what the Flax model draws, the torch model takes."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import nnx

from convert.certificate.dropout import given_masks, record_masks
from flax_models import layers
from tests.agreement import channels_first


class Two(nnx.Module):
    """Two dropout layers, of values and of channels, the first called twice."""

    def __init__(self):
        rngs = nnx.Rngs(0)
        self.values, self.channels = layers.Dropout(0.5, rngs=rngs), layers.Dropout2d(0.25, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.values(x), self.channels(x), self.values(x)


class TorchTwo(torch.nn.Module):
    """The twin, which calls its layers in another order, and `values` so many times."""

    def __init__(self, times: int = 2, p: float = 0.5):
        super().__init__()
        self.channels, self.values = torch.nn.Dropout2d(0.25), torch.nn.Dropout(p)
        self.times = times

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        channels = self.channels(x)
        first, *rest = [self.values(x) for _ in range(self.times)]
        return first, channels, *rest


X = np.random.default_rng(0).uniform(1, 2, (3, 4, 5, 6)).astype(np.float32)
T = torch.tensor(channels_first(X))


def called() -> tuple[Any, dict[str, list[Any]]]:
    """(the outputs of a Flax model, the masks that it drew)."""
    model = Two()
    masks = record_masks(model)
    return model(jnp.asarray(X)), {path: [np.asarray(mask) for mask in m] for path, m in masks.items()}


def test_masks_are_recorded_by_path_in_the_order_of_the_calls():
    (first, channels, second), masks = called()
    assert masks.keys() == {"values", "channels"} and len(masks["values"]) == 2
    assert masks["channels"][0].shape == (3, 1, 1, 6)
    for output, mask in ((first, masks["values"][0]), (second, masks["values"][1])):
        np.testing.assert_array_equal(np.asarray(output) != 0, mask)
    np.testing.assert_array_equal(np.asarray(channels)[:, :1, :1] != 0, masks["channels"][0])
    assert not np.array_equal(*masks["values"])


def test_the_torch_layer_of_the_same_path_takes_them_in_any_order():
    outputs, masks = called()
    twin = TorchTwo()
    with given_masks(twin, masks):
        theirs = twin(T)
    for output, expected in zip(outputs, theirs, strict=True):
        np.testing.assert_allclose(channels_first(np.asarray(output)), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (3, "calls the dropout layer values more often than the Flax model"),
        (1, "calls values less often than the Flax model"),
    ],
)
def test_another_number_of_calls_is_refused(times, message):
    _, masks = called()
    twin = TorchTwo(times)
    with pytest.raises(ValueError, match=message), given_masks(twin, masks):
        twin(T)
    assert not twin.values._forward_hooks  # the hooks go, whatever happens


def test_a_layer_that_is_not_called_is_named():
    _, masks = called()
    with (
        pytest.raises(ValueError, match=r"calls values, channels less often"),
        given_masks(TorchTwo(), masks),
    ):
        pass


def test_without_dropout_nothing_is_taken():
    idle, evaluated = TorchTwo(p=0.0), TorchTwo().eval()
    idle.channels.p = 0.0
    for twin in (idle, evaluated):
        with given_masks(twin, {}):
            assert all(output.equal(T) for output in twin(T))


def test_dropout_of_everything_gives_zeros():
    twin = torch.nn.Sequential(torch.nn.Dropout(1.0))
    with given_masks(twin, {"0": [np.zeros((2, 3), bool)]}):
        assert not twin(torch.ones(2, 3)).any()
