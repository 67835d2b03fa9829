"""Running text as trigrams: {"x": (N, 2) int32, two words, "y": (N,) int32, the one that follows}.

Words are what stands between white space, punctuation and case included. Numbers are places in
`meta["vocabulary"]`, which lists the words as they first come.
"""

from pathlib import Path

import numpy as np

from train.data.datasets import ReadRequest
from train.data.sources import Data

FILES = Path(__file__).parent / "files"
CONTEXT = 2  # words before the one to predict


def sonnet(request: ReadRequest) -> Data:
    """The 14 lines of Shakespeare's second sonnet (1609): 113 trigrams of 97 words."""
    return read_trigrams(str(FILES / "sonnet2.txt"))


def read_text(request: ReadRequest) -> Data:
    """`text:PATH`: see `read_trigrams`."""
    return read_trigrams(request.argument)


def read_trigrams(path: str) -> Data:
    """The trigrams of a text file in UTF-8, in order.

    Errors: ValueError where the file cannot be read, or has less than three words.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} is not a file")
    try:
        words = Path(path).read_text(encoding="utf-8-sig").split()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if len(words) <= CONTEXT:
        raise ValueError(f"{path} has {len(words)} words: a trigram needs {CONTEXT + 1}")
    vocabulary = list(dict.fromkeys(words))
    word_to_index = {word: number for number, word in enumerate(vocabulary)}
    numbers = np.array([word_to_index[word] for word in words], np.int32)
    trigrams = np.lib.stride_tricks.sliding_window_view(numbers, CONTEXT + 1)
    arrays = {"x": trigrams[:, :CONTEXT].copy(), "y": trigrams[:, CONTEXT].copy()}
    return Data(arrays, None, {"vocabulary": vocabulary})
