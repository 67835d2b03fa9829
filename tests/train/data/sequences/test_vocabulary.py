"""Texts as rows of numbers, and back."""

import numpy as np
import pytest

from train.data.readers.sequences.vocabulary import (
    END,
    PAD,
    SPECIAL,
    START,
    UNKNOWN,
    decode_tokens,
    encode_sources,
    encode_targets,
    encode_text,
    plain_text,
    vocabulary_of,
)

pytestmark = pytest.mark.jax_only


def test_a_source_is_padded_and_a_target_has_a_start_and_an_end():
    vocabulary = vocabulary_of(["ab", "b"])
    assert vocabulary == ["<pad>", "<start>", "<end>", "<unknown>", "a", "b"]
    assert [SPECIAL.index(name) for name in SPECIAL] == [PAD, START, END, UNKNOWN] == [0, 1, 2, 3]
    assert encode_sources(["ba", "ac?"], vocabulary).tolist() == [[5, 4, 0], [4, 3, 3]]
    assert encode_targets(["ba", ""], vocabulary, 5).tolist() == [[1, 5, 4, 2, 0], [1, 2, 0, 0, 0]]
    assert encode_sources(["a"], vocabulary).dtype == np.int32
    with pytest.raises(ValueError, match="a text has 4 tokens, and at most 3 are possible"):
        encode_targets(["ab"], vocabulary, 3)


def test_words_are_tokens_too():
    vocabulary = vocabulary_of([["a", "red", "one"]])
    tokens = encode_targets([["a", "blue", "one"]], vocabulary)[0]
    assert decode_tokens(tokens, vocabulary, " ") == "a ? one"


def test_a_question_is_made_plain():
    vocabulary = vocabulary_of(["ä 1"])
    assert plain_text(" a\u0308\u202f1\t") == "ä 1"
    row = encode_text(" a\u0308\u202f1\t", vocabulary, 5)
    assert row.shape == (1, 5) and decode_tokens(row[0], vocabulary) == "ä 1"
    with pytest.raises(ValueError, match="has no characters"):
        encode_text(" \n", vocabulary)
    with pytest.raises(ValueError, match="has 3 tokens, and at most 2"):
        encode_text("1ä1", vocabulary, 2)
