"""The syntax "NAME:ARGUMENT:..." of transforms and preprocessing steps: how it is read and checked."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from train.data.datasets import Shape
from train.lookup import look_up


class TransformKind(NamedTuple):
    """A transform or preprocessing step that a user can name.

    syntax: how it is written. about: one line for --list. read: a function from the strings between the
    colons to the arguments; it raises ValueError for bad ones. output_shape: a function from the (H, W, C) of
    an image and the arguments to the shape of the result.
    """

    syntax: str
    about: str
    read: Callable[..., tuple]
    output_shape: Callable[..., Shape] = lambda shape, *_: shape


class ParsedTransform(NamedTuple):
    """A name and its arguments, such as ("random_crop", (32, 4))."""

    name: str
    arguments: tuple


def parse_step(table: Mapping[str, TransformKind], text: str, what: str) -> ParsedTransform:
    """The name and the arguments of "NAME:ARGUMENT:...".

    table: the names that are possible. what: what an error message calls them, such as "transform".
    Errors: ValueError with near matches for an unknown name, and with the syntax for bad arguments.
    """
    name, *arguments = text.split(":")
    kind = look_up(table, name, what)
    try:
        inspect.signature(kind.read).bind(*arguments)
    except TypeError:
        given = f"{len(arguments)} argument{'' if len(arguments) == 1 else 's'}"
        raise ValueError(f"{what} {text!r} has {given}; write {kind.syntax}") from None
    try:
        return ParsedTransform(name, kind.read(*arguments))
    except ValueError as error:
        raise ValueError(f"{what} {text!r}: {error}; write {kind.syntax}") from None


def read_integer(text: str, least: int = 0) -> int:
    """An integer that is at least `least`. Errors: ValueError for any other text."""
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ValueError(f"{text!r} is not an integer of at least {least}")
    return int(text)


def read_size(text: str) -> int:
    """An integer that is at least 1. Errors: ValueError for any other text."""
    return read_integer(text, 1)


def read_number(text: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in [low, high]. Errors: ValueError for any other text."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and low <= value <= high):
        bounds = "" if low == -math.inf else f" from {low}" if high == math.inf else f" from {low} to {high}"
        raise ValueError(f"{text!r} is not a number{bounds}")
    return value


def read_numbers(text: str) -> tuple[float, ...]:
    """The finite numbers of "A,B,...". Errors: ValueError for any other text."""
    return tuple(read_number(part) for part in text.split(","))
