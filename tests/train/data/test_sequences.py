"""Time series, texts and tagged sentences: the embedded ones and files of one's own."""

import dataclasses

import numpy as np
import pytest

from tests.train.tasks.sequences import load
from train.recipes import RECIPES
from train.tasks.models import abstract_model, fit_options

pytestmark = pytest.mark.jax_only


def test_airline_passengers_are_scaled_by_their_range_and_split_in_time():
    train, test, meta, *_ = load("airline_passengers", "forecast")
    assert meta["columns"] == ["passengers"] and meta["scale"] == 622 - 104
    assert meta["series"][:3] == [112, 118, 132] and len(meta["series"]) == 144
    assert train["series"].shape == (1, 101) and train["series"].dtype == np.float32  # 99 windows of 142
    assert test["series"].shape == (1, 144) and test["held"].tolist() == [101]
    assert np.allclose(train["series"][0] * 518, meta["series"][:101], rtol=1e-6)


def test_the_sonnet_is_all_of_its_trigrams_in_order():
    train, test, meta, *_ = load("sonnet", "text")
    assert test is None and train["x"].shape == (113, 2) and train["y"].shape == (113,)
    words = np.array(meta["vocabulary"])
    assert len(words) == len(set(words)) == 97 == RECIPES["ngram_lm"].log_every - 16
    assert words[train["x"][0]].tolist() == ["When", "forty"] and words[train["y"][0]] == "winters"
    assert words[train["x"][-1]].tolist() == ["feel'st", "it"] and words[train["y"][-1]] == "cold."
    text = " ".join([*words[train["x"][0]], *words[train["y"]]])
    assert "so gazed on now, Will be a totter'd weed" in text


def test_tagged_sentences_are_padded():
    train, test, meta, *_ = load("tagged_sentences", "tagged")
    assert meta["tags"] == ["DET", "NN", "V"]
    assert meta["vocabulary"] == ["the", "dog", "ate", "apple", "everybody", "read", "that", "book"]
    assert train["words"].tolist() == [[0, 1, 2, 0, 3], [4, 5, 6, 7, 8]]  # 8: no word
    assert train["tags"].tolist() == [[0, 1, 2, 0, 1], [1, 2, 0, 1, -1]]
    assert train["lengths"].tolist() == [[3, 3, 3, 3, 5], [9, 4, 4, 4, 1]]
    assert train["characters"].shape == (2, 5, 9)
    assert train["characters"][0, 1].tolist() == [3, 14, 6] + [26] * 6  # d o g
    assert test["tags"].tolist() == [[1, 2, 0, 1]] and test["words"].tolist() == [[4, 2, 0, 3]]


def test_texts_of_ones_own_fit_the_model(tmp_path):
    text, tagged = tmp_path / "text.txt", tmp_path / "tagged.txt"
    text.write_text("one two three one\n two four ")
    tagged.write_text("A/B/DET 3/NUM\n\n Élan/NN\n", encoding="utf-8")
    data = load(f"text:{text}", "text")
    assert data.meta["vocabulary"] == ["one", "two", "three", "four"] and data.train["y"].tolist() == [
        2,
        0,
        1,
        3,
    ]
    options = fit_options(RECIPES["ngram_lm"], data.meta).options
    assert abstract_model(dataclasses.replace(RECIPES["ngram_lm"], options=options)).fc[2].out_features == 4
    data = load(f"tagged:{tagged}", "tagged")
    assert (
        data.meta == {"vocabulary": ["a/b", "3", "élan"], "tags": ["DET", "NUM", "NN"]} and data.test is None
    )
    assert data.train["characters"][0].tolist() == [[0, 26, 1, 26], [26, 26, 26, 26]]
    fitted = fit_options(RECIPES["lstm_tagger"], data.meta)
    assert fitted.options == {"vocabulary_size": 3}
    model = abstract_model(fitted)
    assert model.word_embedding.num_embeddings == 4 and model.fc.out_features == 3


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("text", "two words", "has 2 words: a trigram needs 3"),
        ("text", None, "is not a file"),
        ("text", b"\xff\xfe\x00", "cannot be read"),
        ("tagged", "the/DET dog\n", "line 1: 'dog' is not written word/TAG"),
        ("tagged", "a/B\n\nc/\n", "line 3: 'c/' is not written word/TAG"),
        ("tagged", " \n", "has no sentences"),
        ("tagged", None, "is not a file"),
        ("tagged", b"\xff\xfe\x00", "cannot be read"),
        ("csv", "1\n2\n3\n", "has 3 values of 1: a series needs at least 10"),
        ("csv", "price\n" + "7\n" * 12, "all values of price are 7, there is nothing to forecast"),
        ("csv", "1\n2\nx\n", "line 3, column 1: 'x' is not a finite number"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(name, text, message, tmp_path):
    file = tmp_path / "file.txt"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    kind = "forecast" if name == "csv" else name
    with pytest.raises(ValueError, match=f"file.txt.*{message}"):
        load(f"{name}:{file}", kind)


def test_another_kind_of_data_is_refused():
    message = r"sonnet holds words, but the model takes a time series .*; use csv, airline_passengers"
    with pytest.raises(ValueError, match=message):
        load("sonnet", "forecast")


def test_a_series_of_ones_own(tmp_path):
    file = tmp_path / "sales.csv"
    file.write_text("day,sales\n" + "".join(f"d{n},{n * n}\n" for n in range(12)))
    train, test, meta, *_ = load(f"csv:{file}", "forecast")
    assert meta["columns"] == ["sales"] and meta["scale"] == 121 and meta["held"] == 9
    assert train["series"].shape == (1, 9) and test["series"][0, -1] == 1
