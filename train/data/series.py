"""Time series to forecast: one sequence, scaled, the first part to train on and the rest to test on.

    train  {"series": (1, T)}                    the first 70 %
    test   {"series": (1, T'), "held": (1,)}     all of it; what counts begins at the position `held`

A forecast of the rest begins from what came before it, so the test split holds that too. Values are float32,
divided by the series' range; `meta` holds the raw ones, the range ("scale") and "held".
"""

from pathlib import Path

import numpy as np

from train.data import tables
from train.data.sources import Data

FILES = Path(__file__).parent / "files"
TRAINED = 0.7  # of the values with two before them, as the window of the recipes has them
SHORTEST = 10


def airline_passengers(argument: None, kind: str) -> Data:
    """Passengers of international airlines in thousands, the 144 months of 1949 to 1960.

    Source: G. E. P. Box, G. M. Jenkins, "Time Series Analysis: Forecasting and Control" (1970), series G.
    """
    return read_csv(str(FILES / "airline_passengers.csv"), "forecast")


def read_csv(path: str, kind: str) -> Data:
    """A file of numbers: as a "forecast" its last column of numbers, scaled and split; else as in tables.py.

    Errors: ValueError for a series that is too short, or whose values are all the same.
    """
    if kind != "forecast":
        return tables.read_csv(path, kind)
    arrays, _, meta = tables.read_csv(path, "series")
    return split_series(arrays["series"], path, meta["columns"][0])


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
