"""Text files of rows whose cells are separated by a comma, a semicolon or a tab."""

import csv
import re
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """The number of a line in its file, and its cells without the white space around them."""

    line: int
    cells: list[str]


def read_separated(path: str | Path) -> list[Row]:
    """The rows of a UTF-8 file that are not empty; all have the number of cells of the first one.

    The first line decides what separates the cells: a tab if it contains one, otherwise a semicolon if it
    contains one, otherwise a comma. Cells may be quoted.
    Errors: ValueError for a file that cannot be read, that has no rows, or whose rows differ in length.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} is not a file")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            first = next((line for line in file if line.strip()), "")
            file.seek(0)
            reader = csv.reader(file, delimiter=_separator(first), skipinitialspace=True)
            rows = [Row(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    rows = [row for row in rows if any(row.cells)]
    if not rows:
        raise ValueError(f"{path} has no rows")
    for row in rows:
        if len(row.cells) != len(rows[0].cells):
            raise ValueError(
                f"{path} line {row.line} has {len(row.cells)} columns, and the first line has "
                f"{len(rows[0].cells)}"
            )
    return rows


def _separator(line: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", line)
    return next((separator for separator in "\t;" if separator in unquoted), ",")
