"""RNN, LSTM, GRU and GRUCell with torch's gates, biases, arguments and shapes.

Sequences have torch's layout: (L, N, features), (N, L, features) with batch_first, or (L, features) without a
batch.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
from flax import nnx
from flax.nnx.nn.dtypes import promote_dtype
from jax import lax
from jax.typing import DTypeLike

from flax_models.layers.dropout import Dropout
from flax_models.layers.init import fan_in_uniform

Arrays = tuple[jax.Array, ...]


class _Recurrent(nnx.Module):
    """A recurrent network of several layers and directions. A subclass adds the cell.

    The variables of layer k are weight_ih_lk (features, gates * hidden_size), weight_hh_lk (hidden_size,
    gates * hidden_size), bias_ih_lk and bias_hh_lk (gates * hidden_size,). The weights are the transposes of
    torch's. The names of the reverse direction end in _reverse. All variables are initialised
    U(±1/sqrt(hidden_size)). Both biases are trained, as in torch.

    The call takes a sequence and an optional initial state `hx` (num_layers * directions, N, hidden_size),
    which is zero by default; its first axis has the directions of layer 0, then those of layer 1, and so on.
    The call returns (output, state). The output (L, N, directions * hidden_size) holds the last layer's
    hidden states at every step. The state holds the final state of every layer in the shape of hx. Without a
    batch there is no axis N.

    `lengths` (N,), each from 1 to L, is the equivalent of torch's packed sequences. Outputs past a sequence's
    end are zero, its state is the state at its last step, and the reverse direction starts there.

    In training, dropout from rngs' "dropout" stream applies to the output of each layer but the last.

    Errors: ValueError for sizes that are not positive, a dropout outside [0, 1], and input, states or lengths
    of the wrong shape.
    """

    gates: int
    states: int  # the number of arrays in the state
    weight_ih_l0: nnx.Param

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs,
    ):  # fmt: skip
        if min(input_size, hidden_size, num_layers) < 1:
            raise ValueError(f"{input_size=}, {hidden_size=} and {num_layers=} must be positive")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dtype = dtype
        self.dropout = Dropout(dropout, rngs=rngs if dropout and num_layers > 1 else None)
        init, width = fan_in_uniform(hidden_size), self.gates * hidden_size
        for layer in range(num_layers):
            features = input_size if layer == 0 else hidden_size * len(self._directions)
            for direction in self._directions:
                shapes = {"weight_ih": (features, width), "weight_hh": (hidden_size, width)}
                if bias:
                    shapes |= {"bias_ih": (width,), "bias_hh": (width,)}
                for name, shape in shapes.items():
                    variable = nnx.Param(init(rngs.params(), shape, param_dtype))
                    setattr(self, f"{name}_l{layer}{direction}", variable)

    @property
    def _directions(self) -> tuple[str, ...]:
        return ("", "_reverse") if self.bidirectional else ("",)

    def __call__(
        self, x: jax.Array, hx: jax.Array | Arrays | None = None, *, lengths: jax.Array | None = None
    ) -> tuple[jax.Array, Any]:  # the state is an array, or a tuple of them for an LSTM
        name = type(self).__name__
        if x.ndim not in (2, 3) or x.shape[-1] != self.input_size or 0 in x.shape[:-1]:
            raise ValueError(
                f"{name} expects 2-D or 3-D input with {self.input_size} features last, got shape {x.shape}"
            )
        batched = x.ndim == 3
        if batched and self.batch_first:
            x = x.swapaxes(0, 1)
        if not batched:
            x = x[:, None]
        steps, batch = x.shape[:2]

        initial = self._initial_state(hx, batch, batched)
        x, *initial = promote_dtype(
            (x, *initial), dtype=self.dtype or jnp.result_type(x, self.weight_ih_l0[...])
        )
        valid = None
        if lengths is not None:
            lengths = jnp.asarray(lengths)
            if not batched or lengths.shape != (batch,):
                raise ValueError(
                    f"lengths must be one for each of {batch} sequences, got shape {lengths.shape}"
                )
            valid = (jnp.arange(steps)[:, None] < lengths)[..., None]  # (L, N, 1)
            x = jnp.where(valid, x, 0)  # padding of inf or nan must not reach a gradient

        finals = []
        for layer in range(self.num_layers):
            if layer:
                x = self.dropout(x)
            outputs = []
            for direction in self._directions:
                state = tuple(h[len(finals)] for h in initial)
                final, y = self._scan(x, state, valid, f"l{layer}{direction}", bool(direction))
                finals.append(final)
                outputs.append(y)
            x = jnp.concatenate(outputs, -1)
        state = tuple(jnp.stack(h) for h in zip(*finals, strict=True))

        if batched and self.batch_first:
            x = x.swapaxes(0, 1)
        if not batched:
            x, state = x[:, 0], tuple(h[:, 0] for h in state)
        return x, state if self.states > 1 else state[0]

    def _initial_state(self, hx: jax.Array | Arrays | None, batch: int, batched: bool) -> Arrays:
        count = self.num_layers * len(self._directions)
        shape = (count, batch, self.hidden_size) if batched else (count, self.hidden_size)
        if hx is None:
            state = (jnp.zeros(shape),) * self.states
        else:
            state = cast(Arrays, (hx,) if self.states == 1 else hx)
        if len(state) != self.states or any(h.shape != shape for h in state):
            given = ", ".join(str(h.shape) for h in state)
            raise ValueError(f"{type(self).__name__} expects {self.states} state(s) of {shape}, got {given}")
        return state if batched else tuple(h[:, None] for h in state)

    def _scan(
        self, x: jax.Array, state: Arrays, valid: jax.Array | None, name: str, reverse: bool
    ) -> tuple[Arrays, jax.Array]:
        """(final state, hidden states (L, N, hidden_size)) of one layer in one direction."""
        names = [f"{leaf}_{name}" for leaf in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
        weights = [getattr(self, leaf)[...].astype(x.dtype) for leaf in names[: 4 if self.bias else 2]]
        weight_ih, weight_hh, bias_ih, bias_hh = weights if self.bias else (*weights, 0, 0)
        from_input = x @ weight_ih + bias_ih  # all steps in one matmul

        def step(state: Arrays, inputs: tuple[jax.Array, jax.Array | None]) -> tuple[Arrays, jax.Array]:
            from_input, valid = inputs
            new = self._cell(from_input, state[0] @ weight_hh + bias_hh, state)
            if valid is None:
                return new, new[0]
            kept = tuple(jnp.where(valid, n, old) for n, old in zip(new, state, strict=True))
            return kept, jnp.where(valid, new[0], 0)

        # A step of a small layer takes longer to dispatch than to compute, so several steps are unrolled. For
        # short sequences the longer compilation is not worth it.
        unroll = 4 if x.shape[0] >= 32 else 1
        return lax.scan(step, state, (from_input, valid), reverse=reverse, unroll=unroll)

    def _cell(self, from_input: jax.Array, from_hidden: jax.Array, state: Arrays) -> Arrays:
        """The new state, from the contributions of input and hidden state to the gates.

        Both contributions are (N, gates * hidden_size).
        """
        raise NotImplementedError


class RNN(_Recurrent):
    __doc__ = f"h' = tanh(input + hidden), or relu instead of tanh. Elman 1990.\n\n    {_Recurrent.__doc__}"
    gates, states = 1, 1

    def __init__(
        self, input_size: int, hidden_size: int, num_layers: int = 1, nonlinearity: str = "tanh",
        bias: bool = True, batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs,
    ):  # fmt: skip
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity must be 'tanh' or 'relu', got {nonlinearity!r}")
        self.nonlinearity = nonlinearity
        super().__init__(
            input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            dtype=dtype, param_dtype=param_dtype, rngs=rngs,
        )  # fmt: skip

    def _cell(self, from_input: jax.Array, from_hidden: jax.Array, state: Arrays) -> Arrays:
        activation = jnp.tanh if self.nonlinearity == "tanh" else jax.nn.relu
        return (activation(from_input + from_hidden),)


class LSTM(_Recurrent):
    __doc__ = f"""Gates i, f, g, o; c' = f * c + i * g, h' = o * tanh(c'). Hochreiter & Schmidhuber 1997.

    The state is a pair (h, c), both in hx and in the result.

    {_Recurrent.__doc__}"""
    gates, states = 4, 2

    def _cell(self, from_input: jax.Array, from_hidden: jax.Array, state: Arrays) -> Arrays:
        i, f, g, o = jnp.split(from_input + from_hidden, 4, axis=-1)
        c = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c


class GRU(_Recurrent):
    __doc__ = f"""Gates r, z, n, where n = tanh(input_n + r * hidden_n); h' = (1 - z) * n + z * h.

    As in torch, the reset gate multiplies after the matmul and its bias. Cho et al. 2014.

    {_Recurrent.__doc__}"""
    gates, states = 3, 1

    def _cell(self, from_input: jax.Array, from_hidden: jax.Array, state: Arrays) -> Arrays:
        return (_gru_step(from_input, from_hidden, state[0]),)


class GRUCell(nnx.Module):
    """One step of a GRU: (N, input_size) and the state (N, hidden_size) -> the next state (N, hidden_size).

    weight_ih is (input_size, 3 * hidden_size), weight_hh (hidden_size, 3 * hidden_size), the transposes of
    torch's. bias_ih and bias_hh are (3 * hidden_size,). All are initialised U(±1/sqrt(hidden_size)). The
    state `hx` is zero by default. Without a batch there is no axis N.

    Errors: ValueError for sizes that are not positive, and for input and states of the wrong shape.
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True,
        *, dtype: DTypeLike | None = None, param_dtype: DTypeLike = jnp.float32, rngs: nnx.Rngs,
    ):  # fmt: skip
        if min(input_size, hidden_size) < 1:
            raise ValueError(f"{input_size=} and {hidden_size=} must be positive")
        self.input_size, self.hidden_size, self.bias, self.dtype = input_size, hidden_size, bias, dtype
        init, width = fan_in_uniform(hidden_size), 3 * hidden_size
        self.weight_ih = nnx.Param(init(rngs.params(), (input_size, width), param_dtype))
        self.weight_hh = nnx.Param(init(rngs.params(), (hidden_size, width), param_dtype))
        self.bias_ih = nnx.Param(init(rngs.params(), (width,), param_dtype)) if bias else None
        self.bias_hh = nnx.Param(init(rngs.params(), (width,), param_dtype)) if bias else None

    def __call__(self, x: jax.Array, hx: jax.Array | None = None) -> jax.Array:
        if x.ndim not in (1, 2) or x.shape[-1] != self.input_size:
            raise ValueError(
                f"GRUCell expects 1-D or 2-D input with {self.input_size} features last, got shape {x.shape}"
            )
        shape = (*x.shape[:-1], self.hidden_size)
        if hx is not None and hx.shape != shape:
            raise ValueError(f"GRUCell expects a state of {shape}, got {hx.shape}")
        variables = (self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh)
        leaves = [variable[...] for variable in variables if variable is not None]
        state = jnp.zeros(shape, x.dtype) if hx is None else hx
        x, state, weight_ih, weight_hh, *biases = promote_dtype((x, state, *leaves), dtype=self.dtype)
        bias_ih, bias_hh = biases or (0, 0)
        return _gru_step(x @ weight_ih + bias_ih, state @ weight_hh + bias_hh, state)


def _gru_step(from_input: jax.Array, from_hidden: jax.Array, state: jax.Array) -> jax.Array:
    """The next state (N, H), from the contributions (N, 3 H) of input and state to the gates."""
    input_r, input_z, input_n = jnp.split(from_input, 3, axis=-1)
    hidden_r, hidden_z, hidden_n = jnp.split(from_hidden, 3, axis=-1)
    r, z = jax.nn.sigmoid(input_r + hidden_r), jax.nn.sigmoid(input_z + hidden_z)
    n = jnp.tanh(input_n + r * hidden_n)
    return (1 - z) * n + z * state
