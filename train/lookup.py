"""The lookup of names that a user gives in the tables of the project, with near matches in the error."""

import difflib
from collections.abc import Mapping, Sequence
from typing import TypeVar

Value = TypeVar("Value")
MAX_NAMED = 5  # names in a message


def look_up(table: Mapping[str, Value], name: str, kind: str) -> Value:
    """table[name]. kind: what an error message calls the name, such as "model".

    Errors: ValueError with near matches, or with all names if none is near.
    """
    if name in table:
        return table[name]
    near = difflib.get_close_matches(name, table, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(sorted(table))}"
    raise ValueError(f"unknown {kind} {name!r}: {hint}")


def name_some(names: Sequence[str]) -> str:
    """The first five names, and the number of the others."""
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
