"""Texts as blocks of characters: {"x": (N, LENGTH) int32, "y": (N, LENGTH) int32}.

y are the characters that follow those of x. The numbers are indices into meta["vocabulary"], the characters
of the whole text, sorted. The last tenth of the text is the test split. A rest that does not fill a block is
left out. meta["sha256"] is the digest of the text in UTF-8.
"""

import hashlib
from collections.abc import Sequence

import numpy as np

from train.data.datasets import ReadRequest
from train.data.sources import Data
from train.lookup import look_up

LENGTH = 128
TEST_FRACTION = 0.1


def python_docs(request: ReadRequest) -> Data:
    """The reference texts that Python's `help` shows, one topic after the other, about half a million
    characters of English.

    They differ between versions of Python, so `meta` has the digest of the text.
    Source: `pydoc_data.topics` of Python's standard library.
    Errors: ValueError if Python was installed without them.
    """
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise ValueError("python_docs needs pydoc_data, which this Python was installed without") from None
    text = "\n\n".join(topics[name].strip("\n") for name in sorted(topics))
    return read_characters(text, request.name)


def read_characters(text: str, name: str) -> Data:
    """The blocks of a text. name: the text in errors. ValueError for a text that does not fill two blocks."""
    vocabulary = sorted(set(text))
    indices = {character: number for number, character in enumerate(vocabulary)}
    numbers = np.array([indices[character] for character in text], np.int32)
    tested = max(LENGTH + 1, int(len(numbers) * TEST_FRACTION))
    if len(numbers) - tested <= LENGTH:
        raise ValueError(f"{name} has {len(numbers)} characters: at least {2 * LENGTH + 2} are needed")
    digest = hashlib.sha256(text.encode()).hexdigest()
    train, test = (_blocks(part) for part in np.split(numbers, [len(numbers) - tested]))
    return Data(train, test, {"vocabulary": vocabulary, "sha256": digest})


def _blocks(numbers: np.ndarray) -> dict[str, np.ndarray]:
    """The blocks (N, LENGTH) of a split (T,); T is more than LENGTH."""
    count = (len(numbers) - 1) // LENGTH
    return {
        "x": numbers[: count * LENGTH].reshape(count, LENGTH),
        "y": numbers[1 : count * LENGTH + 1].reshape(count, LENGTH),
    }


def encode_characters(text: str, vocabulary: Sequence[str]) -> np.ndarray:
    """(1, T) int32 of a user's text. ValueError for an empty text and for an unknown character."""
    if not text:
        raise ValueError("the text has no characters")
    indices = {character: number for number, character in enumerate(vocabulary)}
    return np.array([[look_up(indices, character, "character") for character in text]], np.int32)
