"""Time series to forecast: one sequence, scaled, the first part to train on and the rest to test on.

    train  {"series": (1, T)}                    the first 70 %
    test   {"series": (1, T'), "held": (1,)}     all of it; what counts begins at the position `held`

A forecast of the rest begins from what came before it, so the test split holds that too. Values are float32,
divided by the series' range; `meta` holds the raw ones, the range ("scale") and "held".
"""

from pathlib import Path

import numpy as np

from train.data.datasets import ReadRequest
from train.data.readers import tables
from train.data.sources import Data

FILES = Path(__file__).parent / "files"
TRAINED = 0.7  # of the values with two before them, as the window of the recipes has them
SHORTEST = 10


def airline_passengers(request: ReadRequest) -> Data:
    """Passengers of international airlines in thousands, the 144 months of 1949 to 1960.

    Source: G. E. P. Box, G. M. Jenkins, "Time Series Analysis: Forecasting and Control" (1970), series G.
    """
    return _forecast(str(FILES / "airline_passengers.csv"))


def read_csv(request: ReadRequest) -> Data:
    """`csv:PATH`, a file of numbers. As a "forecast" it is the last column of numbers, scaled and split; as
    another kind it is read by `tables.read_table`.

    Errors: ValueError for a series that is too short, or whose values are all the same.
    """
    if request.kind == "forecast":
        return _forecast(request.argument)
    return tables.read_table(request.argument, request.kind)


def _forecast(path: str) -> Data:
    data = tables.read_table(path, "series")
    assert isinstance(data.train, dict)
    return split_series(data.train["series"], path, data.meta["columns"][0])


def split_series(values: np.ndarray, path: str, column: str) -> Data:
    """Values (T,) -> the splits. path, column: what the errors and `meta` call them."""
    if len(values) < SHORTEST:
        raise ValueError(f"{path} has {len(values)} values of {column}: a series needs at least {SHORTEST}")
    scale = float(values.max() - values.min())
    if scale == 0:
        raise ValueError(f"{path}: all values of {column} are {values[0]:g}, there is nothing to forecast")
    held = int((len(values) - 2) * TRAINED) + 2
    series = (values / np.float32(scale))[None]
    meta = {"columns": [column], "scale": scale, "held": held, "series": values.tolist()}
    return Data({"series": series[:, :held]}, {"series": series, "held": np.array([held], np.int32)}, meta)
