"""`pairs:FILE`: the user's own pairs of texts, one per line, separated by a tab.

    {"source": (N, S) int32, "target": (N, T) int32}, as `vocabulary` encodes texts

Every tenth pair is for testing. The vocabularies are the characters of the other pairs.
"""

from collections.abc import Sequence

import numpy as np

from train.data.datasets import ReadRequest
from train.data.readers.sequences.vocabulary import (
    encode_sources,
    encode_targets,
    plain_text,
    vocabulary_of,
)
from train.data.readers.text_files import read_text_file
from train.data.sources import Arrays, Data, check_memory


def read_pairs(request: ReadRequest) -> Data:
    """The pairs of a UTF-8 file. A file of fewer than ten pairs has no test split.

    Errors: ValueError for a file that cannot be read, for a line that is not two texts, with its number, and
    for pairs that do not fit into memory when all are padded to the longest.
    """
    path = request.argument
    lines = enumerate(read_text_file(path).split("\n"), 1)
    pairs = [_split_line(line, f"{path} line {number}") for number, line in lines if line.strip()]
    if not pairs:
        raise ValueError(f"{path} has no pairs")
    longest = [max(len(pair[side]) for pair in pairs) for side in (0, 1)]
    nbytes = len(pairs) * (longest[0] + longest[1] + 2) * np.dtype(np.int32).itemsize
    padded = (
        f"the pairs of {path}, padded to the longest texts ({longest[0]:,} and {longest[1]:,} characters),"
    )
    check_memory(nbytes, padded, "shorten the longest texts")
    train = [pair for index, pair in enumerate(pairs) if index % 10 != 9]
    sources, targets = (vocabulary_of(texts) for texts in zip(*train, strict=True))

    def encode(some: Sequence[tuple[str, str]]) -> Arrays:
        source, target = zip(*some, strict=True)
        return {
            "source": encode_sources(source, sources, longest[0]),
            "target": encode_targets(target, targets, longest[1] + 2),
        }

    meta = {"source_vocabulary": sources, "target_vocabulary": targets}
    return Data(encode(train), encode(pairs[9::10]) if len(pairs) >= 10 else None, meta)


def _split_line(line: str, where: str) -> tuple[str, str]:
    texts = [plain_text(text) for text in line.split("\t")]
    if len(texts) != 2 or not all(texts):
        raise ValueError(f"{where} is not two texts that are separated by one tab")
    source, target = texts
    return source, target
