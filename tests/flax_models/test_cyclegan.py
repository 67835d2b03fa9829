"""CycleGAN's networks: their layers, their receptive field and their first weights."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import torch
from flax import nnx

import flax_models
import torch_models
from convert.certificate.recording import record_flax_outputs
from convert.weights import flat_variables
from tests.pairs import new_module


def shapes_of(module: nnx.Module, *shape: int) -> list[tuple]:
    """The shapes (H, W, C) that the layers of a Sequential put out."""
    graph, state = nnx.split(module)

    def call(state):
        model = nnx.merge(graph, state)
        outputs = record_flax_outputs(model)
        model(jnp.zeros(shape))
        return {
            int(name[6:]): y for name, y in outputs.items() if name[:6] == "model." and name.count(".") == 1
        }

    found = jax.eval_shape(call, state)
    return [found[number].shape[1:] for number in sorted(found)]


def test_the_networks_are_the_papers_layer_by_layer():
    model = nnx.eval_shape(lambda: flax_models.MODELS["cyclegan"](rngs=nnx.Rngs(0)))
    shapes = shapes_of(model.generator_ab, 1, 256, 256, 3)
    assert shapes[0] == (262, 262, 3) and shapes[1:4] == [(256, 256, 64)] * 3
    assert shapes[4:10] == [(128, 128, 128)] * 3 + [(64, 64, 256)] * 3
    assert shapes[10:19] == [(64, 64, 256)] * 9
    assert shapes[19:25] == [(128, 128, 128)] * 3 + [(256, 256, 64)] * 3
    assert shapes[25:] == [(262, 262, 64), (256, 256, 3), (256, 256, 3)]
    judged = [(128, 128, 64)] * 2 + [(64, 64, 128)] * 3 + [(32, 32, 256)] * 3 + [(31, 31, 512)] * 3
    assert shapes_of(model.discriminator_a, 1, 256, 256, 3) == [*judged, (30, 30, 1)]
    counts = [
        sum(math.prod(variable.shape) for variable in flat_variables(child).values())
        for child in (model.generator_ab, model.discriminator_b)
    ]
    assert [round(count / 1e6, 3) for count in counts] == [11.378, 2.765]  # as the authors' code prints


def test_each_score_judges_70x70_pixels():
    theirs = torch_models.MODELS["cyclegan"](width=2, blocks=0).discriminator_a.double()
    for number, layer in enumerate(theirs.model):
        if isinstance(layer, torch.nn.InstanceNorm2d):  # which would let every pixel in
            theirs.model[number] = torch.nn.Identity()
    images = torch.rand(1, 3, 256, 256, dtype=torch.float64, requires_grad=True)
    theirs(images)[0, 0, 15, 15].backward()
    assert images.grad is not None
    rows, columns = images.grad[0].abs().sum(0).nonzero().T
    assert rows.max() - rows.min() + 1 == columns.max() - columns.min() + 1 == 70


def test_first_weights_are_normal_and_biases_zero():
    model = new_module(lambda: flax_models.MODELS["cyclegan"](16, 1, rngs=nnx.Rngs(0)))
    values = {path: np.asarray(variable[...]) for path, variable in flat_variables(model).items()}
    weights = np.concatenate([value.ravel() for path, value in values.items() if path[-1] == "weight"])
    assert abs(weights.std() - 0.02) < 2e-4 and abs(weights.mean()) < 1e-4
    assert not any(value.any() for path, value in values.items() if path[-1] == "bias")
    torch.manual_seed(0)
    theirs = dict(torch_models.MODELS["cyclegan"](16, 1).named_parameters())
    assert abs(theirs["generator_ab.model.10.conv_block.1.weight"].std() - 0.02) < 5e-4
    assert not any(value.any() for name, value in theirs.items() if name.endswith("bias"))
