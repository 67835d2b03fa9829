"""Text as trigrams: {"x": (N, 2) int32, two words, "y": (N,) int32, the word that follows them}.

White space separates the words; case and punctuation belong to them. The numbers are indices into
`meta["vocabulary"]`, which lists the words in the order of their first occurrence.
"""

from pathlib import Path

import numpy as np

from train.data.datasets import ReadRequest
from train.data.readers.sequences.characters import read_characters
from train.data.readers.text_files import read_text_file
from train.data.sources import Data

FILES = Path(__file__).parent / "files"
CONTEXT = 2  # words before the word to predict


def sonnet(request: ReadRequest) -> Data:
    """The 14 lines of Shakespeare's second sonnet (1609): 113 trigrams of 97 words."""
    return read_trigrams(str(FILES / "sonnet2.txt"))


def read_text(request: ReadRequest) -> Data:
    """`text:PATH`: its trigrams, or for the kind "characters" its blocks (`characters.read_characters`)."""
    if request.kind == "characters":
        return read_characters(read_text_file(request.argument), request.name)
    return read_trigrams(request.argument)


def read_trigrams(path: str) -> Data:
    """The trigrams of a UTF-8 text file, in order.

    Errors: ValueError for a file that cannot be read, or that has fewer than three words.
    """
    words = read_text_file(path).split()
    if len(words) <= CONTEXT:
        raise ValueError(f"{path} has {len(words)} words: a trigram needs {CONTEXT + 1}")
    vocabulary = list(dict.fromkeys(words))
    word_to_index = {word: index for index, word in enumerate(vocabulary)}
    indices = np.array([word_to_index[word] for word in words], np.int32)
    trigrams = np.lib.stride_tricks.sliding_window_view(indices, CONTEXT + 1)
    arrays = {"x": trigrams[:, :CONTEXT].copy(), "y": trigrams[:, CONTEXT].copy()}
    return Data(arrays, None, {"vocabulary": vocabulary})
