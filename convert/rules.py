"""RULES: for each layer type its leaves, each with its name in torch and its layout.

One rule serves weights, gradients, buffers and optimizer moments, both directions, and the subclasses of its
type. The layers of flax_models.layers have torch's names, so only layouts differ. The rules of flax.nnx's
layers only map leaves; the user is responsible for equal strides, paddings and eps.

Two kinds of nnx layers compute the same function as torch's but train differently. nnx.BatchNorm stores the
biased variance, torch the unbiased one, so only evaluation agrees. nnx's recurrent cells have one bias where
torch trains two. In torch the second one becomes 0; a second bias that is not 0 cannot be converted to Flax.
The layers of flax_models.layers train as torch's do.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import nnx

from convert.layouts import (
    CHANNELS_FIRST,
    CONV,
    FROM_HEADS,
    HEADS,
    SAME,
    SCALAR,
    TO_HEADS,
    TRANSPOSED,
    Layout,
)
from flax_models import layers


class TorchLeaf(NamedTuple):
    """The torch tensor of a Flax leaf, or the part of a tensor.

    name: the name of the tensor, below the layer. layout: how the Flax leaf becomes the tensor or its part.
    parts: how many Flax leaves the tensor concatenates along axis 0. part: the index of this leaf.
    """

    name: str
    layout: Layout = SAME
    part: int = 0
    parts: int = 1


class TorchOnlyLeaf(NamedTuple):
    """A leaf that only torch has. `to_torch` sets it to 0.

    shape: shape(flax_module) is the shape of the leaf. needed: the reason why a value other than 0 cannot be
    converted to Flax; if it is empty, `to_flax` drops the value.
    """

    name: str
    shape: Callable[[Any], tuple[int, ...]]
    needed: str = ""


class Rule(NamedTuple):
    """How the leaves of a layer are converted.

    leaves: {dotted path below the Flax layer: its leaf in torch}. torch_only: leaves without a Flax leaf.
    refused: the reason why torch has no equivalent layer; empty if it has one.
    """

    leaves: Mapping[str, TorchLeaf]
    torch_only: tuple[TorchOnlyLeaf, ...] = ()
    refused: str = ""


def _same_names(*names: str, **layouts: Layout) -> Rule:
    """The rule of a layer whose leaves have torch's names."""
    return Rule(
        {name: TorchLeaf(name, layout) for name, layout in (dict.fromkeys(names, SAME) | layouts).items()}
    )


def _stacked(name: str, layout: Layout, *leaves: str) -> dict[str, TorchLeaf]:
    """The leaves of a torch tensor that concatenates these Flax leaves along axis 0."""
    return {leaf: TorchLeaf(name, layout, part, len(leaves)) for part, leaf in enumerate(leaves)}


# The layers of flax_models.layers.

_OUR_NORM = _same_names("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _our_layer_norm(layer: layers.LayerNorm) -> Rule:
    layout = SAME if len(layer.normalized_shape) < 3 else CHANNELS_FIRST
    return _same_names(weight=layout, bias=layout)


def _our_recurrent(layer: Any) -> Rule:
    """The rule of an RNN, LSTM or GRU of any number of layers and directions."""
    suffixes = [f"l{n}{way}" for n in range(layer.num_layers) for way in ("", "_reverse")]
    weights = {f"{leaf}_{suffix}": TRANSPOSED for leaf in ("weight_ih", "weight_hh") for suffix in suffixes}
    biases = [f"{leaf}_{suffix}" for leaf in ("bias_ih", "bias_hh") for suffix in suffixes]
    return _same_names(*biases, **weights)


# The layers of flax.nnx.

_SCALE_BIAS = {"scale": TorchLeaf("weight"), "bias": TorchLeaf("bias")}
_KERNEL_BIAS = {"kernel": TorchLeaf("weight", TRANSPOSED), "bias": TorchLeaf("bias")}

# nnx does not count the batches; torch uses the count only with momentum=None.
_BATCH_NORM = Rule(
    {**_SCALE_BIAS, "mean": TorchLeaf("running_mean"), "var": TorchLeaf("running_var")},
    (TorchOnlyLeaf("num_batches_tracked", lambda norm: ()),),
)


def _second_bias(name: str, gates: int, instead: str, why: str) -> TorchOnlyLeaf:
    needed = f"Flax's cell has one bias where torch has two, {why}: use flax_models.layers.{instead}"
    return TorchOnlyLeaf(name, lambda cell: (gates * cell.hidden_features,), needed)


_SUMMED = "and one bias of their sum would train differently"

_LSTM_CELL = Rule(
    {
        **_stacked("weight_ih", TRANSPOSED, "ii.kernel", "if_.kernel", "ig.kernel", "io.kernel"),
        **_stacked("weight_hh", TRANSPOSED, "hi.kernel", "hf.kernel", "hg.kernel", "ho.kernel"),
        **_stacked("bias_hh", SAME, "hi.bias", "hf.bias", "hg.bias", "ho.bias"),
    },
    (_second_bias("bias_ih", 4, "LSTM", _SUMMED),),
)
_FUSED_LSTM_CELL = Rule(  # its gates are in torch's order
    {
        "dense_i.kernel": TorchLeaf("weight_ih", TRANSPOSED),
        "dense_h.kernel": TorchLeaf("weight_hh", TRANSPOSED),
        "dense_h.bias": TorchLeaf("bias_hh"),
    },
    (_second_bias("bias_ih", 4, "LSTM", _SUMMED),),
)


def _input_biased_cell(gates: int, instead: str, why: str) -> Rule:
    """The rule of SimpleCell and GRUCell, whose only bias is added to the product with the input."""
    leaves = {
        "dense_i.kernel": TorchLeaf("weight_ih", TRANSPOSED),
        "dense_i.bias": TorchLeaf("bias_ih"),
        "dense_h.kernel": TorchLeaf("weight_hh", TRANSPOSED),
    }
    return Rule(leaves, (_second_bias("bias_hh", gates, instead, why),))


# nnx.GRUCell computes n = tanh(W_in x + b_in + r * W_hn h). It has no b_hn, although its docstring has one.
_GRU_CELL = _input_biased_cell(3, "GRU", "and the reset gate multiplies one of them")
_SIMPLE_CELL = _input_biased_cell(1, "RNN", _SUMMED)

_ATTENTION = Rule(
    {
        **_stacked("in_proj_weight", TO_HEADS, "query.kernel", "key.kernel", "value.kernel"),
        **_stacked("in_proj_bias", HEADS, "query.bias", "key.bias", "value.bias"),
        "out.kernel": TorchLeaf("out_proj.weight", FROM_HEADS),
        "out.bias": TorchLeaf("out_proj.bias"),
    }
)


def _conv_transpose(layer: nnx.ConvTranspose) -> Rule:
    """The rule of nnx.ConvTranspose.

    torch's layer flips the kernel. Flax flips it only with transpose_kernel=True; in the other case this rule
    flips it.
    """
    if layer.transpose_kernel:  # (*k, out, in) -> (in, out, *k)
        layout = CONV
    else:  # (*k, in, out) -> (in, out, *k)
        layout = Layout((-2, -1, ...), flip=tuple(range(2, layer.kernel.ndim)))
    return Rule({"kernel": TorchLeaf("weight", layout), "bias": TorchLeaf("bias")})


def _unrolled_cell(layer: nnx.RNN) -> Rule | None:
    """The rule of nnx.RNN: torch's RNN, LSTM or GRU of one layer has the cell's leaves, ending in _l0."""
    cell = rule_for(layer.cell)
    if cell is None:
        return None
    leaves = {f"cell.{path}": leaf._replace(name=f"{leaf.name}_l0") for path, leaf in cell.leaves.items()}
    torch_only = tuple(
        TorchOnlyLeaf(f"{name}_l0", lambda rnn, shape=shape: shape(rnn.cell), needed)
        for name, shape, needed in cell.torch_only
    )
    return Rule(leaves, torch_only, cell.refused)


RULES: dict[type[nnx.Module], Rule | Callable[[Any], Rule | None]] = {
    layers.Linear: _same_names(weight=TRANSPOSED, bias=SAME),
    layers.Maxout: _same_names(weight=TRANSPOSED, bias=SAME),
    layers.Conv2d: _same_names(weight=CONV, bias=SAME),
    layers.ConvTranspose2d: _same_names(weight=CONV, bias=SAME),  # (kH, kW, out, in) -> (in, out, kH, kW)
    layers.BatchNorm1d: _OUR_NORM,
    layers.BatchNorm2d: _OUR_NORM,
    layers.InstanceNorm2d: _OUR_NORM,
    layers.GroupNorm: _same_names("weight", "bias"),
    layers.LayerNorm: _our_layer_norm,
    layers.Embedding: _same_names("weight"),
    layers.PReLU: _same_names("weight"),
    layers.RNN: _our_recurrent,
    layers.LSTM: _our_recurrent,
    layers.GRU: _our_recurrent,
    layers.GRUCell: _same_names("bias_ih", "bias_hh", weight_ih=TRANSPOSED, weight_hh=TRANSPOSED),
    nnx.Linear: Rule(_KERNEL_BIAS),
    nnx.LinearGeneral: Rule(_KERNEL_BIAS),
    nnx.Conv: Rule({"kernel": TorchLeaf("weight", CONV), "bias": TorchLeaf("bias")}),
    nnx.ConvTranspose: _conv_transpose,
    nnx.BatchNorm: _BATCH_NORM,
    nnx.LayerNorm: Rule(_SCALE_BIAS),
    nnx.GroupNorm: Rule(_SCALE_BIAS),
    nnx.InstanceNorm: Rule(_SCALE_BIAS),
    nnx.RMSNorm: Rule({"scale": TorchLeaf("weight")}),
    nnx.Embed: Rule({"embedding": TorchLeaf("weight")}),
    nnx.PReLU: Rule({"negative_slope": TorchLeaf("weight", SCALAR)}),
    nnx.MultiHeadAttention: _ATTENTION,
    nnx.LSTMCell: _LSTM_CELL,
    nnx.OptimizedLSTMCell: _FUSED_LSTM_CELL,
    nnx.GRUCell: _GRU_CELL,
    nnx.SimpleCell: _SIMPLE_CELL,
    nnx.RNN: _unrolled_cell,
}

# nnx layers that have no equivalent in torch if they have some options: {type: (has them?, the reason)}.
REFUSED: dict[type[nnx.Module], tuple[Callable[[Any], bool], str]] = {
    nnx.Conv: (lambda layer: layer.mask is not None, "torch's convolutions have no mask"),
    nnx.ConvTranspose: (lambda layer: layer.mask is not None, "torch's convolutions have no mask"),
    nnx.LinearGeneral: (
        lambda layer: layer.kernel.ndim != 2 or layer.axis != (-1,),
        "torch.nn.Linear maps the last axis to one axis",
    ),
    nnx.MultiHeadAttention: (
        lambda layer: (
            layer.normalize_qk
            or layer.num_kv_heads != layer.num_heads
            or {layer.in_kv_features, layer.qkv_features, layer.out_features} != {layer.in_features}
        ),
        "torch.nn.MultiheadAttention has one size and one number of heads for all inputs, and no norm inside",
    ),
    nnx.SimpleCell: (lambda cell: cell.residual, "torch.nn.RNNCell has no residual connection"),
    nnx.RNN: (lambda layer: layer.reverse, "torch has a backward direction only together with a forward one"),
}


def rule_for(module: nnx.Module) -> Rule | None:
    """The rule of the module's type or of its nearest base class; None if no class has a rule."""
    cls = next((cls for cls in type(module).__mro__ if cls in RULES), None)
    if cls is None:
        return None
    declared = RULES[cls]
    rule = declared if isinstance(declared, Rule) else declared(module)
    refuses, reason = REFUSED.get(cls, (lambda module: False, ""))
    return rule._replace(refused=reason) if rule and refuses(module) else rule
