"""Names that a user gives, looked up in our tables, with help where they miss."""

import difflib
from collections.abc import Mapping
from typing import TypeVar

Value = TypeVar("Value")


def look_up(table: Mapping[str, Value], name: str, kind: str) -> Value:
    """table[name]; ValueError naming near matches, or all that there is."""
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(table))}"
    raise ValueError(f"unknown {kind} {name!r}: {hint}")
