"""RULES: layer type -> its leaves, each with its name in torch and its layout.

A rule holds for weights, gradients, buffers and optimizer moments alike, in both directions, and
for subclasses of its type. Our own layers carry torch's names, so only layouts differ. The rules
of Flax's own layers place leaves; that strides, paddings and eps are alike is the user's part.

Two of Flax's own are the same function as torch's, but do not train as it does. nnx.BatchNorm stores
the biased variance, torch the unbiased one: only evaluation agrees. nnx's recurrent cells have one
bias where torch trains two: in torch the second begins at 0, and a second one that is not 0 stays
out of Flax. flax_models.layers has both as torch means them.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from flax import nnx

from convert.layouts import (
    CHANNELS_FIRST,
    CONV,
    FROM_HEADS,
    HEADS,
    ONE,
    SAME,
    TO_HEADS,
    TRANSPOSED,
    Layout,
)
from flax_models import layers


class Place(NamedTuple):
    """Where a Flax leaf stands in torch: all of a tensor, or one of its equal parts along axis 0."""

    name: str
    layout: Layout = SAME
    part: int = 0
    parts: int = 1


class TorchOnlyLeaf(NamedTuple):
    """A leaf that only torch has. It becomes 0 in torch.

    shape: the shape of the leaf, from the Flax module. needed: why a value other than 0 cannot be converted to
    Flax; where it is empty, the value is dropped.
    """

    name: str
    shape: Callable[[Any], tuple[int, ...]]
    needed: str = ""


class Rule(NamedTuple):
    """leaves: {dotted path below the layer: Place}. refused: why such a layer has no twin in torch."""

    leaves: Mapping[str, Place]
    torch_only: tuple[TorchOnlyLeaf, ...] = ()
    refused: str = ""


def _named_alike(*names: str, **layouts: Layout) -> Rule:
    return Rule(
        {name: Place(name, layout) for name, layout in (dict.fromkeys(names, SAME) | layouts).items()}
    )


def _stacked(name: str, layout: Layout, *leaves: str) -> dict[str, Place]:
    """These Flax leaves, one after the other along axis 0, are one torch leaf."""
    return {leaf: Place(name, layout, part, len(leaves)) for part, leaf in enumerate(leaves)}


# Ours.

_OUR_NORM = _named_alike("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def _our_layer_norm(layer: layers.LayerNorm) -> Rule:
    layout = SAME if len(layer.normalized_shape) < 3 else CHANNELS_FIRST
    return _named_alike(weight=layout, bias=layout)


def _our_recurrent(layer: Any) -> Rule:
    """Of any number of layers and directions."""
    suffixes = [f"l{n}{way}" for n in range(layer.num_layers) for way in ("", "_reverse")]
    weights = {f"{leaf}_{suffix}": TRANSPOSED for leaf in ("weight_ih", "weight_hh") for suffix in suffixes}
    biases = [f"{leaf}_{suffix}" for leaf in ("bias_ih", "bias_hh") for suffix in suffixes]
    return _named_alike(*biases, **weights)


# Flax's own.

_SCALE_BIAS = {"scale": Place("weight"), "bias": Place("bias")}
_KERNEL_BIAS = {"kernel": Place("weight", TRANSPOSED), "bias": Place("bias")}

# The count of batches, which nnx does not keep, matters in torch to momentum=None alone.
_BATCH_NORM = Rule(
    {**_SCALE_BIAS, "mean": Place("running_mean"), "var": Place("running_var")},
    (TorchOnlyLeaf("num_batches_tracked", lambda norm: ()),),
)


def _second_bias(name: str, gates: int, ours: str, why: str) -> TorchOnlyLeaf:
    needed = f"Flax's cell has one bias where torch has two, {why}: use flax_models.layers.{ours}"
    return TorchOnlyLeaf(name, lambda cell: (gates * cell.hidden_features,), needed)


_SUMMED = "and their sum in one would train differently"

_LSTM_CELL = Rule(
    {
        **_stacked("weight_ih", TRANSPOSED, "ii.kernel", "if_.kernel", "ig.kernel", "io.kernel"),
        **_stacked("weight_hh", TRANSPOSED, "hi.kernel", "hf.kernel", "hg.kernel", "ho.kernel"),
        **_stacked("bias_hh", SAME, "hi.bias", "hf.bias", "hg.bias", "ho.bias"),
    },
    (_second_bias("bias_ih", 4, "LSTM", _SUMMED),),
)
_FUSED_LSTM_CELL = Rule(  # its gates lie in torch's order
    {
        "dense_i.kernel": Place("weight_ih", TRANSPOSED),
        "dense_h.kernel": Place("weight_hh", TRANSPOSED),
        "dense_h.bias": Place("bias_hh"),
    },
    (_second_bias("bias_ih", 4, "LSTM", _SUMMED),),
)


def _input_biased_cell(gates: int, ours: str, why: str) -> Rule:
    """SimpleCell and GRUCell: the one bias is on the side of the input."""
    leaves = {
        "dense_i.kernel": Place("weight_ih", TRANSPOSED),
        "dense_i.bias": Place("bias_ih"),
        "dense_h.kernel": Place("weight_hh", TRANSPOSED),
    }
    return Rule(leaves, (_second_bias("bias_hh", gates, ours, why),))


# nnx.GRUCell computes n = tanh(W_in x + b_in + r * W_hn h): its docstring's b_hn does not exist.
_GRU_CELL = _input_biased_cell(3, "GRU", "and the reset gate multiplies one of them")
_SIMPLE_CELL = _input_biased_cell(1, "RNN", _SUMMED)

_ATTENTION = Rule(
    {
        **_stacked("in_proj_weight", TO_HEADS, "query.kernel", "key.kernel", "value.kernel"),
        **_stacked("in_proj_bias", HEADS, "query.bias", "key.bias", "value.bias"),
        "out.kernel": Place("out_proj.weight", FROM_HEADS),
        "out.bias": Place("out_proj.bias"),
    }
)


def _conv_transpose(layer: nnx.ConvTranspose) -> Rule:
    """Torch slides the flipped kernel, as Flax does with transpose_kernel alone."""
    if layer.transpose_kernel:  # (*k, out, in) -> (in, out, *k)
        layout = CONV
    else:  # (*k, in, out) -> (in, out, *k)
        layout = Layout((-2, -1, ...), flip=tuple(range(2, layer.kernel.ndim)))
    return Rule({"kernel": Place("weight", layout), "bias": Place("bias")})


def _unrolled_cell(layer: nnx.RNN) -> Rule | None:
    """nnx.RNN over a cell is torch's RNN, LSTM or GRU of one layer: the cell's leaves, with _l0."""
    cell = rule_for(layer.cell)
    if cell is None:
        return None
    leaves = {f"cell.{path}": place._replace(name=f"{place.name}_l0") for path, place in cell.leaves.items()}
    torch_only = tuple(
        TorchOnlyLeaf(f"{name}_l0", lambda rnn, shape=shape: shape(rnn.cell), needed)
        for name, shape, needed in cell.torch_only
    )
    return Rule(leaves, torch_only, cell.refused)


RULES: dict[type[nnx.Module], Rule | Callable[[Any], Rule | None]] = {
    layers.Linear: _named_alike(weight=TRANSPOSED, bias=SAME),
    layers.Maxout: _named_alike(weight=TRANSPOSED, bias=SAME),
    layers.Conv2d: _named_alike(weight=CONV, bias=SAME),
    layers.ConvTranspose2d: _named_alike(weight=CONV, bias=SAME),  # (kH, kW, out, in) -> (in, out, kH, kW)
    layers.BatchNorm1d: _OUR_NORM,
    layers.BatchNorm2d: _OUR_NORM,
    layers.InstanceNorm2d: _OUR_NORM,
    layers.GroupNorm: _named_alike("weight", "bias"),
    layers.LayerNorm: _our_layer_norm,
    layers.Embedding: _named_alike("weight"),
    layers.PReLU: _named_alike("weight"),
    layers.RNN: _our_recurrent,
    layers.LSTM: _our_recurrent,
    layers.GRU: _our_recurrent,
    nnx.Linear: Rule(_KERNEL_BIAS),
    nnx.LinearGeneral: Rule(_KERNEL_BIAS),
    nnx.Conv: Rule({"kernel": Place("weight", CONV), "bias": Place("bias")}),
    nnx.ConvTranspose: _conv_transpose,
    nnx.BatchNorm: _BATCH_NORM,
    nnx.LayerNorm: Rule(_SCALE_BIAS),
    nnx.GroupNorm: Rule(_SCALE_BIAS),
    nnx.InstanceNorm: Rule(_SCALE_BIAS),
    nnx.RMSNorm: Rule({"scale": Place("weight")}),
    nnx.Embed: Rule({"embedding": Place("weight")}),
    nnx.PReLU: Rule({"negative_slope": Place("weight", ONE)}),
    nnx.MultiHeadAttention: _ATTENTION,
    nnx.LSTMCell: _LSTM_CELL,
    nnx.OptimizedLSTMCell: _FUSED_LSTM_CELL,
    nnx.GRUCell: _GRU_CELL,
    nnx.SimpleCell: _SIMPLE_CELL,
    nnx.RNN: _unrolled_cell,
}

# Options of Flax's layers under which no layer of torch means the same.
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
        "torch.nn.MultiheadAttention has one size and one number of heads for all, and no norm within",
    ),
    nnx.SimpleCell: (lambda cell: cell.residual, "torch.nn.RNNCell has no residual"),
    nnx.RNN: (lambda layer: layer.reverse, "torch runs backwards only beside a forward direction"),
}


def rule_for(module: nnx.Module) -> Rule | None:
    """The rule of the module's type, or of the nearest base class that has one."""
    cls = next((cls for cls in type(module).__mro__ if cls in RULES), None)
    if cls is None:
        return None
    declared = RULES[cls]
    rule = declared if isinstance(declared, Rule) else declared(module)
    refuses, reason = REFUSED.get(cls, (lambda module: False, ""))
    return rule._replace(refused=reason) if rule and refuses(module) else rule
