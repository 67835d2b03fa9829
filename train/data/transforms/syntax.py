"""The syntax "NAME:ARGUMENT:..." of transforms and preprocessing steps, and the checks of its numbers."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from train.data.datasets import Shape
from train.lookup import look_up


class TransformKind(NamedTuple):
    """What can be named: how it is written, what it does, and how its arguments are read.

    read: the strings between colons -> the arguments, ValueError where they cannot be.
    output_shape: an image's (H, W, C) and the arguments -> the shape that comes of it.
    """

    syntax: str
    about: str
    read: Callable[..., tuple]
    output_shape: Callable[..., Shape] = lambda shape, *_: shape


class ParsedTransform(NamedTuple):
    """One name with its arguments read: ("random_crop", (32, 4))."""

    name: str
    arguments: tuple


def parse_step(table: Mapping[str, TransformKind], text: str, what: str) -> ParsedTransform:
    """ "NAME:ARGUMENT:..." read by a table; ValueError with near matches, or with the syntax."""
    name, *arguments = text.split(":")
    kind = look_up(table, name, what)
    try:
        inspect.signature(kind.read).bind(*arguments)
    except TypeError:
        given = f"{len(arguments)} argument{'' if len(arguments) == 1 else 's'}"
        raise ValueError(f"{what} {text!r} has {given}; it is written {kind.syntax}") from None
    try:
        return ParsedTransform(name, kind.read(*arguments))
    except ValueError as error:
        raise ValueError(f"{what} {text!r}: {error}; it is written {kind.syntax}") from None


def whole(text: str, least: int = 0) -> int:
    """A whole number, not below the least."""
    if not (text.isascii() and text.isdigit()) or int(text) < least:
        raise ValueError(f"{text!r} is not a whole number from {least}")
    return int(text)


def side(text: str) -> int:
    return whole(text, 1)


def number(text: str, low: float = -math.inf, high: float = math.inf) -> float:
    """A finite number in [low, high]."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and low <= value <= high):
        bounds = "" if low == -math.inf else f" from {low}" if high == math.inf else f" from {low} to {high}"
        raise ValueError(f"{text!r} is not a number{bounds}")
    return value


def numbers(text: str) -> tuple[float, ...]:
    return tuple(number(part) for part in text.split(","))
