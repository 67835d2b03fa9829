"""Texts by characters: Python's own reference texts, and a file of one's own."""

import hashlib
from typing import Any

import numpy as np
import pytest

from train.data.load import load_data
from train.data.readers.sequences.characters import LENGTH, encode_characters

pytestmark = pytest.mark.jax_only


def load(name: str, folder: Any) -> Any:
    return load_data(name, folder, kind="characters")


def text_of(split: Any, meta: Any, name: str = "x") -> str:
    return "".join(np.array(meta["vocabulary"])[split[name]].ravel())


def test_the_reference_texts_are_english_about_python(tmp_path):
    train, test, meta, *_ = load("python_docs", tmp_path)
    assert train["x"].dtype == np.int32 and train["x"].shape == train["y"].shape == (len(train["x"]), LENGTH)
    assert 0.09 < len(test["x"]) / (len(train["x"]) + len(test["x"])) < 0.11 and len(train["x"]) > 2000
    assert (
        "".join(meta["vocabulary"]) == "".join(sorted(set(meta["vocabulary"]))) and len(meta["sha256"]) == 64
    )
    text = text_of(train, meta)
    assert 'The "yield" expression' in text or "statement" in text
    assert text_of(train, meta, "y") == text[1:] + text_of(train, meta, "y")[-1]
    assert load("python_docs", tmp_path).meta["sha256"] == meta["sha256"]


def test_a_text_of_ones_own_by_characters(tmp_path):
    text = "".join(chr(97 + n % 26) for n in range(3 * LENGTH + 5)) + "é" * (LENGTH + 3)
    file = tmp_path / "text.txt"
    file.write_text(text, encoding="utf-8")
    train, test, meta, *_ = load(f"text:{file}", tmp_path)
    assert train["x"].shape == (3, LENGTH) and test["x"].shape == (1, LENGTH)
    assert (
        text_of(train, meta) == text[: 3 * LENGTH] and text_of(train, meta, "y") == text[1 : 3 * LENGTH + 1]
    )
    assert set(text_of(test, meta)) == {"é"}
    assert meta["sha256"] == hashlib.sha256(text.encode()).hexdigest()
    question = encode_characters("né", meta["vocabulary"])
    assert question.dtype == np.int32 and [meta["vocabulary"][n] for n in question[0]] == ["n", "é"]
    with pytest.raises(ValueError, match="unknown character '!'"):
        encode_characters("n!", meta["vocabulary"])
    with pytest.raises(ValueError, match="has no characters"):
        encode_characters("", meta["vocabulary"])
    file.write_text("x" * 257)
    with pytest.raises(ValueError, match=r"text\.txt has 257 characters: at least 258 are needed"):
        load(f"text:{file}", tmp_path)
    file.write_text("x" * 258)
    assert len(load(f"text:{file}", tmp_path).train["x"]) == 1
