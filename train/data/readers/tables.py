"""Tables of numbers, small and without a test split. `meta` names the columns, and those of x and of y.

table     {"x": (N, features) float32, "y": (N, targets) float32}
labelled  {"x": (N, features) float32, "y": (N,) int32}              y are indices into meta["classes"]
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from train.data.datasets import ReadRequest
from train.data.readers.text_files import Row, read_rows
from train.data.sources import Arrays, Data, Generated

POINTS = (
    (3.3, 1.7), (4.4, 2.76), (5.5, 2.09), (6.71, 3.19), (6.93, 1.694), (4.168, 1.573), (9.779, 3.366),
    (6.182, 2.596), (7.59, 2.53), (2.167, 1.221), (7.042, 2.827), (10.791, 3.465), (5.313, 1.65),
    (7.997, 2.904), (3.1, 1.3),
)  # fmt: skip
COEFFICIENTS = (0.9, 0.5, 3.0, 2.4)  # of 1, x, x^2, x^3


def points(request: ReadRequest) -> Data:
    """15 points near the line y = 0.26 x + 0.748: x (15, 1), y (15, 1)."""
    return Data(_table(np.asarray(POINTS)), None, _columns(["x", "y"]))


def iris_petals(request: ReadRequest) -> Data:
    """Fisher's irises, versicolor (0) and virginica (1): petal length and width x (100, 2), and the class y.

    Source: R. A. Fisher, "The use of multiple measurements in taxonomic problems" (1936), as scikit-learn
    ships it.
    """
    from sklearn.datasets import load_iris

    iris: Any = load_iris()
    rows = np.column_stack([iris.data[:, 2:], iris.target - 1])[iris.target > 0]
    meta = _columns([*iris.feature_names[2:], "label"])
    if request.kind == "table":
        return Data(_table(rows), None, meta)
    meta["classes"] = [str(name) for name in iris.target_names[1:]]
    return Data({"x": rows[:, :-1].astype(np.float32), "y": rows[:, -1].astype(np.int32)}, None, meta)


def polynomial(request: ReadRequest) -> Data:
    """Generated x (B, 3) = (u, u^2, u^3) and y (B, 1) = 0.9 + 0.5 u + 3 u^2 + 2.4 u^3, u ~ N(0, 1)."""
    meta = {**_columns(["x", "x^2", "x^3", "y"]), "coefficients": list(COEFFICIENTS)}
    return Data(Generated(_draw_polynomial), None, meta)


def _draw_polynomial(key: Any, batch_size: int) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    x = jax.random.normal(key, (batch_size, 1))
    powers = jnp.concatenate([x, x**2, x**3], axis=1)  # (B, 3)
    constant, *rest = COEFFICIENTS
    return {"x": powers, "y": constant + (powers * jnp.asarray(rest, x.dtype)).sum(axis=1, keepdims=True)}


def curves(request: ReadRequest) -> Data:
    """Generated x (B, 15): a u^2 + a - 1 at 15 positions u in [-1, 1], a ~ U(1, 2).

    `meta` has the positions ("places") and the two curves ("bounds") between which all curves are.
    """
    positions = np.linspace(-1, 1, 15)
    bounds = [(a * positions**2 + a - 1).tolist() for a in (1, 2)]
    return Data(Generated(_draw_curves), None, {"places": positions.tolist(), "bounds": bounds})


def _draw_curves(key: Any, batch_size: int) -> dict[str, Any]:
    import jax
    import jax.numpy as jnp

    a = jax.random.uniform(key, (batch_size, 1), minval=1, maxval=2)
    return {"x": a * jnp.linspace(-1, 1, 15) ** 2 + a - 1}


def random_pairs(request: ReadRequest) -> Data:
    """Random numbers from a fixed seed: x (100, 1000) and y (100, 10), all N(0, 1)."""
    rng = np.random.default_rng(0)
    arrays = {"x": rng.standard_normal((100, 1000)), "y": rng.standard_normal((100, 10))}
    return Data({name: array.astype(np.float32) for name, array in arrays.items()}, None, {})


def read_table(path: str, kind: str) -> Data:
    """The rows of a CSV file, with or without a header line.

    kind: for a "table" the last column is y and the others are x. For "labelled" the last column is the
    class: words, sorted by name, or whole numbers, in increasing order. For a "series" the last column of
    numbers is {"series": (T,)}, and the other columns may hold anything, such as dates.
    Errors: ValueError that names the file, and the line and the column of a cell that is not a finite number.
    """
    columns, rows = _read_columns(path)
    if kind == "series":
        numeric = [j for j in range(len(columns)) if _number(rows[0].cells[j]) is not None]
        if not numeric:
            raise ValueError(f"{path} has no column of numbers")
        values = [_finite(path, line, columns[numeric[-1]], cells[numeric[-1]]) for line, cells in rows]
        return Data({"series": np.array(values, np.float32)}, None, {"columns": [columns[numeric[-1]]]})
    if len(columns) < 2:
        raise ValueError(f"{path} has one column: a table needs at least one column of x and one of y")
    numbers = columns if kind == "table" else columns[:-1]
    values = np.asarray(
        [[_finite(path, line, *pair) for pair in zip(numbers, cells, strict=False)] for line, cells in rows]
    )
    if kind == "table":
        return Data(_table(values), None, _columns(columns))
    classes, labels = _read_classes(path, columns[-1], rows)
    return Data(
        {"x": values.astype(np.float32), "y": labels}, None, {**_columns(columns), "classes": classes}
    )


def _columns(names: list[str]) -> dict[str, list[str]]:
    """The metadata of a table whose last column is y."""
    return {"columns": names, "features": names[:-1], "targets": names[-1:]}


def _read_columns(path: str) -> tuple[list[str], list[Row]]:
    """(the names of the columns, the rows without the header line)."""
    rows = read_rows(path)
    names = [str(j + 1) for j in range(len(rows[0].cells))]
    if all(_number(cell) is None for cell in rows[0].cells):
        names = rows.pop(0).cells
    if not rows:
        raise ValueError(f"{path} has no rows")
    return names, rows


def _read_classes(path: str, column: str, rows: Sequence[Row]) -> tuple[list[str], np.ndarray]:
    """(the names of the classes in the last column, (N,) int32 the class of each row)."""
    cells = [row.cells[-1] for row in rows]
    numbers = [number for cell in cells if (number := _number(cell)) is not None]
    if len(numbers) == len(cells):
        for (line, _), number in zip(rows, numbers, strict=True):
            if not number.is_integer():
                raise ValueError(
                    f"{path} line {line}, column {column}: {number:g} is no class, but a fraction"
                )
        cells = [str(int(number)) for number in numbers]
    for (line, _), cell in zip(rows, cells, strict=True):
        if not cell:
            raise ValueError(f"{path} line {line}, column {column}: the class is missing")
    classes = sorted(set(cells), key=int if len(numbers) == len(cells) else None)
    return classes, np.array([classes.index(cell) for cell in cells], np.int32)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _finite(path: str, line: int, name: str, cell: str) -> float:
    value = _number(cell)
    if value is None or not math.isfinite(value):
        raise ValueError(f"{path} line {line}, column {name}: {cell!r} is not a finite number")
    return value


def _table(rows: np.ndarray) -> Arrays:
    """{"x": all columns but the last, "y": the last} of rows (N, columns), as float32."""
    rows = rows.astype(np.float32)
    return {"x": rows[:, :-1], "y": rows[:, -1:]}
