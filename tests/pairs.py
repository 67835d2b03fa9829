"""Pairs: a Flax module and its torch twin with the same random weights, for every test of twins.

The weights cross by the converter, which tests/convert/test_rules.py compares with layouts written by hand.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import flax_models
import torch_models
from convert import to_torch
from convert.twins import TWINS, find_twin
from convert.weights import flat_variables
from tests.compilation import QUICK


class Pair(NamedTuple):
    """A Flax module and its torch twin."""

    ours: Any
    theirs: Any

    def set_training(self, training: bool) -> None:
        """Puts both into training or evaluation mode."""
        self.ours.train() if training else self.ours.eval()
        self.theirs.train(training)


def make_pair(
    ours: Callable[[], nnx.Module], theirs: Callable[[], torch.nn.Module], *, dtype: str = "float64",
    training: bool = True, seed: int = 0,
) -> Pair:  # fmt: skip
    """The modules that the two functions build, with the same random weights.

    dtype: "float64" or "float32", of every float leaf of both. training: the mode of both. seed: of the
    weights.
    """
    module = random_module(ours, dtype=dtype, seed=seed)
    twin = to_torch(module, theirs().to(getattr(torch, dtype)))
    pair = Pair(module, twin)
    pair.set_training(training)
    return pair


def model_pair(
    name: str, *, options: Mapping[str, Any] | None = None, dtype: str = "float64", training: bool = True,
    seed: int = 0,
) -> Pair:  # fmt: skip
    """The pair of a model of the catalogue. options: of both; without them those of the small variant."""
    options = TWINS[name].tiny if options is None else options
    return make_pair(
        lambda: flax_models.MODELS[name](**options, rngs=nnx.Rngs(0)),
        lambda: torch_models.MODELS[name](**options),
        dtype=dtype, training=training, seed=seed,
    )  # fmt: skip


def random_module(build: Callable[[], nnx.Module], *, dtype: str = "float64", seed: int = 0) -> Any:
    """The module that `build` makes, with every leaf random; float leaves have this dtype."""
    rng = np.random.default_rng(seed)
    with jax.enable_x64(dtype == "float64"):
        module = nnx.eval_shape(build)  # the values of `build` would not be used
        for path, variable in flat_variables(module).items():
            leaf = random_leaf(variable.shape, variable.dtype, str(path[-1]), rng)
            variable.set_value(jnp.asarray(leaf, leaf.dtype if leaf.dtype.kind in "iu" else dtype))
        for number, variable in enumerate(nnx.to_flat_state(nnx.state(module, nnx.RngState)).leaves):
            is_key = isinstance(variable, nnx.RngKey)
            variable.set_value(jax.random.key(number) if is_key else jnp.zeros((), jnp.uint32))
    return module


def new_module(build: Callable[[], nnx.Module]) -> Any:
    """The module that `build` makes, with its first weights."""
    state = jax.jit(lambda: nnx.state(build()), compiler_options=QUICK)()
    module = nnx.eval_shape(build)
    nnx.update(module, state)
    return module


def random_leaf(shape: tuple[int, ...], dtype: Any, name: str, rng: np.random.Generator) -> np.ndarray:
    """A random leaf under which signals neither vanish nor explode in a deep network.

    Variances are positive and counts are small. A matrix has the variance 2 / fan_in, other leaves have 1.
    name: the last part of the leaf's path.
    """
    if np.issubdtype(dtype, np.integer):
        return rng.integers(1, 10, shape).astype(dtype)
    if name.endswith("var"):
        return rng.uniform(0.5, 2, shape)
    scale = math.sqrt(2 / math.prod(shape[:-1])) if len(shape) > 1 else 1.0
    return scale * rng.standard_normal(shape)


def model_inputs(name: str, batch: int, *, child: str = "", seed: int = 1) -> list[np.ndarray]:
    """Random inputs of a child of the small variant of a model, channels last; floats are float64."""
    rng = np.random.default_rng(seed)
    return [example.draw(rng, batch) for example in find_twin(name, TWINS[name].tiny).examples[child]]
