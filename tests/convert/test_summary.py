"""The table of both twins, layer by layer."""

import pytest

from convert.summary import Row, summarise
from convert.twins import TWINS


def test_the_rows_of_lenet5():
    assert summarise("lenet5")[:3] == [
        Row("conv.0", "Conv2d", "28x28x6", "6x28x28", 6 * (5 * 5 + 1), 6 * (5 * 5 + 1)),
        Row("conv.1", "ReLU", "28x28x6", "6x28x28", 0, 0),
        Row("conv.2", "MaxPool2d", "14x14x6", "6x14x14", 0, 0),
    ]


@pytest.mark.parametrize("model", TWINS)
def test_both_twins_have_the_same_layers_and_parameters(model):
    rows = summarise(model, dict(TWINS[model].tiny))
    assert rows and all(row.flax_parameters == row.torch_parameters for row in rows)
    assert len({row.path for row in rows}) == len(rows)


def test_unknown_models_and_options_are_named():
    with pytest.raises(ValueError, match="unknown model 'lenet6'"):
        summarise("lenet6")
    with pytest.raises(ValueError, match="lenet5 has no option depth"):
        summarise("lenet5", {"depth": 3})
