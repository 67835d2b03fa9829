"""An extension of griffe: the arguments, attributes and errors that a docstring names become a list.

The docstrings say `name: what it is. other: what that is.` and `Errors: ...` within a paragraph, which is
short in the code. On a page each name gets a line of its own.
"""

import re
from typing import Any

import griffe

_NAMES = r"\w+(?:, \w+)*"


class Fields(griffe.Extension):
    """Rewrites the docstrings of functions and classes."""

    def on_function(self, *, func: griffe.Function, **kwargs: Any) -> None:
        _rewrite(func, {parameter.name for parameter in func.parameters})

    def on_class(self, *, cls: griffe.Class, **kwargs: Any) -> None:
        parameters = cls.parameters if "__init__" in cls.members or "dataclass" in cls.labels else ()
        _rewrite(cls, {*cls.members, *(parameter.name for parameter in parameters)})


def _rewrite(thing: griffe.Object, names: set[str]) -> None:
    if thing.docstring is None:
        return
    paragraphs = re.split(r"\n\s*\n", thing.docstring.value)
    thing.docstring.value = "\n\n".join(_with_list(paragraph, names) for paragraph in paragraphs)


def _with_list(paragraph: str, names: set[str]) -> str:
    """The paragraph with the fields that it names as a list below the other sentences."""
    if paragraph.startswith("    "):  # code
        return paragraph
    text = " ".join(line.strip() for line in paragraph.splitlines())
    starts = [
        match
        for match in re.finditer(rf"(?:^|(?<=[.;:?] ))({_NAMES}): ", text)
        if match[1] == "Errors" or set(match[1].split(", ")) <= names
    ]
    if not starts:
        return paragraph
    lines = [text[: starts[0].start()].strip(), ""]
    for match, after in zip(starts, [*starts[1:], None], strict=True):
        body = text[match.end() : after.start() if after else len(text)].strip()
        head = "**Errors**" if match[1] == "Errors" else ", ".join(f"`{n}`" for n in match[1].split(", "))
        lines.append(f"- {head}: {body}")
    return "\n".join(lines).strip()
