"""The user's text files in UTF-8: their text, and their rows of cells."""

import csv
import io
import re
from pathlib import Path
from typing import NamedTuple


class Row(NamedTuple):
    """The number of a line in its file, and its cells without the white space around them."""

    line: int
    cells: list[str]


def read_text_file(path: str | Path) -> str:
    """The text of a file. Errors: ValueError if it is not a file in UTF-8 that can be read."""
    if not Path(path).is_file():
        raise ValueError(f"{path} is not a file")
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a file that are not empty; all have the number of cells of the first one.

    The first line decides what separates the cells: a tab if it contains one, otherwise a semicolon if it
    contains one, otherwise a comma. Cells may be quoted.
    Errors: ValueError for a file that cannot be read, that has no rows, or whose rows differ in length.
    """
    text = read_text_file(path)
    first = next((line for line in text.splitlines() if line.strip()), "")
    reader = csv.reader(io.StringIO(text), delimiter=_separator(first), skipinitialspace=True)
    try:
        rows = [Row(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    rows = [row for row in rows if any(row.cells)]
    if not rows:
        raise ValueError(f"{path} has no rows")
    columns = len(rows[0].cells)
    for line, cells in rows:
        if len(cells) != columns:
            raise ValueError(f"{path} line {line} has {len(cells)} columns, and the first line has {columns}")
    return rows


def _separator(line: str) -> str:
    unquoted = re.sub(r'"[^"]*"', "", line)
    return next((separator for separator in "\t;" if separator in unquoted), ",")
