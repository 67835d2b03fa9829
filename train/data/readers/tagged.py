"""Sentences with a tag for every word, as padded arrays of N sentences of at most L words of C characters.

    words       (N, L) int32      indices into meta["vocabulary"]
    characters  (N, L, C) int32   a is 0, z is 25; 26 for other characters and padding
    lengths     (N, L) int32      the number of characters of each word; 1 for padding
    tags        (N, L) int32      indices into meta["tags"]; NO_TAG for padding

In `words`, the length of the vocabulary stands for unknown words and padding. Words are converted to lower
case. The characters of a word after the first MAX_CHARACTERS are left out of `characters` and not counted in
`lengths`, so that one long word does not enlarge the arrays of all; C is at most MAX_CHARACTERS.
"""

import math
import string
from collections.abc import Sequence

import numpy as np

from train.data.datasets import ReadRequest
from train.data.readers.text_files import read_text_file
from train.data.sources import Arrays, Data, check_memory

Sentence = Sequence[tuple[str, str]]  # (word, tag)
ALPHABET = string.ascii_lowercase
NO_TAG = -1
MAX_CHARACTERS = 64  # the longest words of dictionaries have under 50
SENTENCES = ("The/DET dog/NN ate/V the/DET apple/NN", "Everybody/NN read/V that/DET book/NN")
HELD_OUT = ("Everybody/NN ate/V the/DET apple/NN",)


def tagged_sentences(request: ReadRequest) -> Data:
    """Two sentences to train on, and a third one of the same words to test on."""
    train, test = (
        [_parse_line(line, "sentence", number) for number, line in enumerate(lines, 1)]
        for lines in (SENTENCES, HELD_OUT)
    )
    return _encode_splits(train, test)


def read_tagged(request: ReadRequest) -> Data:
    """The sentences of a UTF-8 text file, one per line; white space separates the words, each word/TAG.

    Errors: ValueError for a file that cannot be read, for a word without a tag, with its line number, and for
    sentences that do not fit into memory when all are padded to the longest.
    """
    path = request.argument
    lines = read_text_file(path).splitlines()
    sentences = [_parse_line(line, path, number) for number, line in enumerate(lines, 1) if line.strip()]
    if not sentences:
        raise ValueError(f"{path} has no sentences")
    return _encode_splits(sentences, None)


def encode_words(sentences: Sequence[Sequence[str]], vocabulary: Sequence[str]) -> Arrays:
    """The arrays "words", "characters" and "lengths", padded to the longest sentence and the longest word.

    Errors: ValueError for sentences that do not fit into memory when all are padded to the longest.
    """
    word_to_index = {word: index for index, word in enumerate(vocabulary)}
    lowered = [[word.lower() for word in sentence] for sentence in sentences]
    shape = len(lowered), max(map(len, lowered))
    spelled = [[word[:MAX_CHARACTERS] for word in sentence] for sentence in lowered]
    longest = max(len(word) for sentence in spelled for word in sentence)
    nbytes = math.prod(shape) * (longest + 2) * np.dtype(np.int32).itemsize
    padded = f"{shape[0]:,} sentences, padded to the {shape[1]:,} words of the longest one,"
    check_memory(nbytes, padded, "split the longest sentences")
    words = np.full(shape, len(vocabulary), np.int32)
    characters = np.full((*shape, longest), len(ALPHABET), np.int32)
    lengths = np.ones(shape, np.int32)
    for row, sentence in enumerate(lowered):
        for column, word in enumerate(sentence):
            words[row, column] = word_to_index.get(word, len(vocabulary))
            letters = spelled[row][column]
            lengths[row, column] = len(letters)
            characters[row, column, : len(letters)] = [_character_index(letter) for letter in letters]
    return {"words": words, "characters": characters, "lengths": lengths}


def _character_index(character: str) -> int:
    index = ALPHABET.find(character)
    return index if index >= 0 else len(ALPHABET)


def _parse_line(line: str, source: str, number: int) -> Sentence:
    pairs = []
    for entry in line.split():
        word, _, tag = entry.rpartition("/")
        if not word or not tag:
            raise ValueError(f"{source} line {number}: {entry!r} is not written word/TAG")
        pairs.append((word, tag))
    return pairs


def _encode_splits(train: Sequence[Sentence], test: Sequence[Sentence] | None) -> Data:
    """The Data of both splits; the vocabulary and the tags are those of the training split."""
    vocabulary = list(dict.fromkeys(word.lower() for sentence in train for word, _ in sentence))
    tags = list(dict.fromkeys(tag for sentence in train for _, tag in sentence))
    return Data(
        _encode(train, vocabulary, tags),
        _encode(test, vocabulary, tags) if test else None,
        {"vocabulary": vocabulary, "tags": tags},
    )


def _encode(sentences: Sequence[Sentence], vocabulary: list[str], tags: list[str]) -> Arrays:
    arrays = encode_words([[word for word, _ in sentence] for sentence in sentences], vocabulary)
    arrays["tags"] = np.full(arrays["words"].shape, NO_TAG, np.int32)
    for row, sentence in enumerate(sentences):
        arrays["tags"][row, : len(sentence)] = [tags.index(tag) for _, tag in sentence]
    return arrays
