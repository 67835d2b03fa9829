"""Texts as padded rows of numbers, and back.

A text is a sequence of tokens: the characters of a str, or a list of words. Its numbers are indices into a
vocabulary, a list of tokens whose first four entries are SPECIAL:

    source   tokens, then padding
    target   start, tokens, end, then padding
"""

import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np

SPECIAL = ("<pad>", "<start>", "<end>", "<unknown>")
PAD, START, END, UNKNOWN = range(len(SPECIAL))


def plain_text(text: str) -> str:
    """The text in Unicode's composed form (NFC). Every run of white space becomes one space."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def vocabulary_of(texts: Iterable[Sequence[str]]) -> list[str]:
    """SPECIAL, then the tokens of the texts, sorted."""
    return [*SPECIAL, *sorted({token for text in texts for token in text})]


def encode_sources(
    texts: Sequence[Sequence[str]], vocabulary: Sequence[str], length: int | None = None
) -> np.ndarray:
    """(N, S) int32: the tokens of each text, then padding. Tokens that are not in the vocabulary are UNKNOWN.

    length: S; None takes the length of the longest text.
    Errors: ValueError for a text that is longer than `length`.
    """
    indices = {token: number for number, token in enumerate(vocabulary)}
    return _pad([[indices.get(token, UNKNOWN) for token in text] for text in texts], length)


def encode_targets(
    texts: Sequence[Sequence[str]], vocabulary: Sequence[str], length: int | None = None
) -> np.ndarray:
    """(N, T) int32: start, the tokens of each text, end, then padding; as `encode_sources`."""
    indices = {token: number for number, token in enumerate(vocabulary)}
    rows = [[START, *(indices.get(token, UNKNOWN) for token in text), END] for text in texts]
    return _pad(rows, length)


def _pad(rows: Sequence[Sequence[int]], length: int | None) -> np.ndarray:
    longest = max(map(len, rows))
    if length is not None and longest > length:
        raise ValueError(f"a text has {longest} tokens, and at most {length} are possible")
    padded = np.full((len(rows), longest if length is None else length), PAD, np.int32)
    for number, row in enumerate(rows):
        padded[number, : len(row)] = row
    return padded


def encode_text(text: str, vocabulary: Sequence[str], length: int | None = None) -> np.ndarray:
    """The source (1, S) int32 of a user's text, which `plain_text` makes plain.

    length: S, as in `encode_sources`.
    Errors: ValueError for a text without characters, and for one that is longer than `length`.
    """
    text = plain_text(text)
    if not text:
        raise ValueError("the text has no characters")
    return encode_sources([text], vocabulary, length)


def decode_tokens(tokens: Iterable[int], vocabulary: Sequence[str], separator: str = "") -> str:
    """The text of the numbers up to the first END, without the other special tokens except UNKNOWN.

    separator: "" between characters, " " between words. An unknown token is shown as a question mark.
    """
    shown = []
    for token in map(int, tokens):
        if token == END:
            break
        if token not in (PAD, START):
            shown.append("?" if token == UNKNOWN else vocabulary[token])
    return separator.join(shown)
