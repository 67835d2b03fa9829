"""Time series to forecast: one scaled sequence, whose first part is for training and the rest for testing.

    train  {"series": (1, T)}                    the first 70 %
    test   {"series": (1, T'), "held": (1,)}     all values; those from the index `held` on are tested

The test split also contains the training values, because the first test predictions need the values before
them. Values are float32, divided by the range of the series. `meta` has the raw values ("series"), the range
("scale") and "held".
"""

from pathlib import Path

import numpy as np

from train.data.datasets import ReadRequest
from train.data.readers import tables
from train.data.sources import Data

FILES = Path(__file__).parent / "files"
TRAIN_FRACTION = 0.7  # of the values that have two values before them, the window of the recipes
MIN_LENGTH = 10


def airline_passengers(request: ReadRequest) -> Data:
    """Passengers of international airlines in thousands, the 144 months of 1949 to 1960.

    Source: G. E. P. Box, G. M. Jenkins, "Time Series Analysis: Forecasting and Control" (1970), series G.
    """
    return _forecast(str(FILES / "airline_passengers.csv"))


def read_csv(request: ReadRequest) -> Data:
    """`csv:PATH`, a file of numbers: for the kind "forecast" the scaled and split series of its last column.

    `tables.read_table` reads it as another kind.
    Errors: ValueError for a series that is too short, and for one whose values are all equal.
    """
    if request.kind == "forecast":
        return _forecast(request.argument)
    return tables.read_table(request.argument, request.kind)


def _forecast(path: str) -> Data:
    data = tables.read_table(path, "series")
    assert isinstance(data.train, dict)
    return split_series(data.train["series"], path, data.meta["columns"][0])


def split_series(values: np.ndarray, path: str, column: str) -> Data:
    """The splits of the values (T,). path, column: their names in errors and in `meta`."""
    if len(values) < MIN_LENGTH:
        raise ValueError(f"{path} has {len(values)} values of {column}: a series needs at least {MIN_LENGTH}")
    scale = float(values.max() - values.min())
    if scale == 0:
        raise ValueError(f"{path}: all values of {column} are {values[0]:g}, there is nothing to forecast")
    held = int((len(values) - 2) * TRAIN_FRACTION) + 2
    series = (values / np.float32(scale))[None]
    meta = {"columns": [column], "scale": scale, "held": held, "series": values.tolist()}
    return Data({"series": series[:, :held]}, {"series": series, "held": np.array([held], np.int32)}, meta)
