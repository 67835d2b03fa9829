"""Pairs of texts: the dates, and a file of one's own."""

import json
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest

from train.data.load import load_data
from train.data.readers.sequences import dates
from train.data.readers.sequences.vocabulary import UNKNOWN, decode_tokens

pytestmark = pytest.mark.jax_only


def load(name: str, folder: Any) -> Any:
    return load_data(name, folder, kind="text_pairs")


def texts_of(split: Any, meta: Any) -> list[tuple[str, str]]:
    return [
        (decode_tokens(source, meta["source_vocabulary"]), decode_tokens(target, meta["target_vocabulary"]))
        for source, target in zip(split["source"], split["target"], strict=True)
    ]


def test_dates_are_of_disjoint_days_and_no_text_has_two_meanings(data_dir):
    train, test, meta, _, reported = load("dates", data_dir)
    assert list(reported) == ["withheld forms"] and json.loads(json.dumps(meta)) == meta
    splits = [texts_of(split, meta) for split in (train, test, reported["withheld forms"])]
    assert [len(split) for split in splits] == [20_000, 2_000, 2_000]
    days = [{day for _, day in split} for split in splits]
    assert [len(found) for found in days] == [20_000, 2_000, 2_000]
    assert not days[0] & days[1] and days[1] == days[2]
    assert all("1969-01-01" <= str(date.fromisoformat(day)) <= "2068-12-31" for day in days[0] | days[1])
    every = [pair for split in splits for pair in split]
    assert len(dict(every)) == len(set(every))  # a text always means the same day
    assert train["source"].dtype == train["target"].dtype == np.int32
    assert train["source"].shape[1] == test["source"].shape[1] and train["target"].shape[1] == 12
    unknown = [(split["source"] == UNKNOWN).mean() for split in (train, test)]
    assert unknown[0] == 0 and unknown[1] < 1e-3


def test_a_day_is_written_in_many_ways():
    day = date(2021, 3, 4)
    assert len(dates.LANGUAGES) == len(set(dates.LANGUAGES)) == 30
    written = {
        dates.write_day(day, pattern, language)
        for language in dates.LANGUAGES
        for pattern in dates.find_patterns(language, dates.FORMS)
    }
    assert {
        "04/03/2021", "4 mars 2021", "Thursday, 4 March 2021", "4. März 2021", "čt 4. 3. 2021",
        "2021年3月4日", "21. 3. 4.", "2021-03-04",
    } <= written  # fmt: skip
    withheld = {
        language: dates.find_patterns(language, dates.WITHHELD) - dates.find_patterns(language, dates.FORMS)
        for language in dates.LANGUAGES
    }
    assert all(withheld.values()) and "Mi., 6. Feb. 1974" in {
        dates.write_day(date(1974, 2, 6), pattern, "de") for pattern in withheld["de"]
    }


@pytest.mark.heavy
def test_no_two_days_are_written_alike_in_any_languages():
    patterns = {
        pattern: language
        for language in dates.LANGUAGES
        for pattern in dates.find_patterns(language, (*dates.FORMS, *dates.WITHHELD))
        if not set("'EcG") & set(pattern) and "MMM" not in pattern
    }
    assert len(patterns) > 15
    meant: dict[str, date] = {}
    for start in (date(1975, 1, 1), date(2001, 1, 1), date(2012, 1, 1)):
        for day in (start + timedelta(number) for number in range(366)):
            for pattern, language in patterns.items():
                assert meant.setdefault(dates.write_day(day, pattern, language), day) == day


def test_dates_are_made_once_and_again_if_the_file_is_damaged(data_dir, tmp_path, monkeypatch):
    first = load("dates", data_dir)
    (file,) = (data_dir / "dates").iterdir()
    monkeypatch.setattr(dates, "_make", lambda version: pytest.fail("it is made again"))
    again = load("dates", data_dir)
    assert again.meta == first.meta
    for ours, theirs in zip(
        (first.train, first.test, first.reported["withheld forms"]),
        (again.train, again.test, again.reported["withheld forms"]),
        strict=True,
    ):
        assert all(np.array_equal(ours[name], theirs[name]) for name in ("source", "target"))
    damaged = tmp_path / "dates" / file.name
    damaged.parent.mkdir()
    damaged.write_bytes(file.read_bytes()[:1000])
    monkeypatch.setattr(dates, "_make", lambda version: first)
    assert load("dates", tmp_path).meta == first.meta
    assert damaged.stat().st_size == file.stat().st_size and len(list(damaged.parent.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path, monkeypatch, data_dir):
    made = load("dates", data_dir)
    monkeypatch.setattr(dates, "_make", lambda version: made)
    (tmp_path / "dates").write_text("a file")
    with pytest.raises(ValueError, match="cannot keep the data set in"):
        load("dates", tmp_path)


def test_pairs_of_ones_own(tmp_path):
    file = tmp_path / "pairs.tsv"
    lines = [f"{n} \u0061\u0308\t{n}{n}" for n in range(1, 11)] + ["", "x\ty"]
    file.write_text("\ufeff" + "\r\n".join(lines), encoding="utf-8", newline="")
    train, test, meta, *_ = load(f"pairs:{file}", tmp_path)
    assert texts_of(train, meta) == [*((f"{n} ä", f"{n}{n}") for n in range(1, 10)), ("x", "y")]
    assert texts_of(test, meta) == [("1? ä", "1?1?")]  # no 0 is in the training split
    assert train["source"].shape[1] == test["source"].shape[1] == 4
    assert train["target"].shape[1] == test["target"].shape[1] == 6
    file.write_text("a\tb\n")
    assert load(f"pairs:{file}", tmp_path).test is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no pairs"),
        ("a\tb\n\nc\n", "line 3 is not two texts that are separated by one tab"),
        ("a\tb\tc\n", "line 1 is not two texts"),
        ("a\t \n", "line 1 is not two texts"),
        (b"\xff\xfe\x00", "cannot be read"),
        (None, "is not a file"),
        (
            "a\tb\n" * 1000 + "long " * 60_000 + "\tb\n",
            r"padded to the longest .*299,999.* shorten the longest texts",
        ),
    ],
)
def test_pairs_that_cannot_be_read_say_where(text, message, tmp_path):
    file = tmp_path / "pairs.tsv"
    if text is not None:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ValueError, match=message) as error:
        load(f"pairs:{file}", tmp_path)
    assert "\n" not in str(error.value)
