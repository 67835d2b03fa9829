"""`dates`: a day written in one of 30 languages and several forms, and the same day as ISO 8601.

    {"source": (N, S) int32, "target": (N, 12) int32}, as `vocabulary` encodes texts

Every example has a day of its own, so no day is in two splits; the withheld forms have the days of the test
split. The years are 1969 to 2068, in which two digits give the year, as in POSIX. English is British: the
American order, month first, would make 3/4/2021 ambiguous. Forms and names are those of Unicode CLDR, which
the package Babel contains. They differ between its versions, so the version is in `meta`.
Source: Unicode Common Locale Data Repository, https://cldr.unicode.org.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import numpy as np

from train.data.datasets import ReadRequest
from train.data.readers.kept import keep
from train.data.readers.sequences.vocabulary import (
    encode_sources,
    encode_targets,
    plain_text,
    vocabulary_of,
)
from train.data.sources import Arrays, Data

LANGUAGES = (
    "bg", "cs", "da", "de", "el", "en_GB", "es", "et", "fi", "fr", "he", "hi", "hr", "hu", "id", "it", "ja",
    "ko", "lt", "nb", "nl", "pl", "pt", "ro", "ru", "sv", "tr", "uk", "vi", "zh",
)  # fmt: skip
# CLDR's four lengths, and its skeletons: y year, M month (MMM by name), d day, E day of the week.
FORMS = ("short", "medium", "long", "full", "yMd", "yMEd", "yMMMd")
WITHHELD = ("yMMMEd", "EEEE, yMd")  # new combinations of what the other forms contain
FIRST_DAY, END_DAY = date(1969, 1, 1), date(2069, 1, 1)
TRAIN, TEST = 20_000, 2_000
VERSION = "1"


def dates(request: ReadRequest) -> Data:
    """20,000 dates to train on, 2,000 to test on, and 2,000 in withheld forms, which are only reported.

    Errors: ValueError if Babel is not installed.
    """
    try:
        import babel
    except ImportError:
        raise ValueError("dates needs Babel: pip install 'flax-torch-twins[text]'") from None
    version = babel.__version__
    return keep(request.data_dir / "dates" / f"{VERSION}-babel-{version}.npz", lambda: _make(version))


def _make(version: str) -> Data:
    rng = np.random.default_rng(0)
    shuffled = rng.permutation((END_DAY - FIRST_DAY).days)[: TRAIN + TEST]
    days = [FIRST_DAY + timedelta(int(number)) for number in shuffled]
    known = {language: find_patterns(language, FORMS) for language in LANGUAGES}
    # In some languages a withheld form has the pattern of another form.
    new = {language: find_patterns(language, WITHHELD) - known[language] for language in LANGUAGES}
    train = _write_days(days[:TRAIN], known, rng)
    test = _write_days(days[TRAIN:], known, rng)
    withheld = _write_days(days[TRAIN:], new, rng)
    longest = max(map(len, [*train, *test, *withheld]))
    sources, targets = vocabulary_of(train), vocabulary_of(day.isoformat() for day in days[:TRAIN])

    def encode(texts: Sequence[str], written: Sequence[date]) -> Arrays:
        return {
            "source": encode_sources(texts, sources, longest),
            "target": encode_targets([day.isoformat() for day in written], targets),
        }

    return Data(
        encode(train, days[:TRAIN]),
        encode(test, days[TRAIN:]),
        {"source_vocabulary": sources, "target_vocabulary": targets, "babel": version},
        reported={"withheld forms": encode(withheld, days[TRAIN:])},
    )


def _write_days(
    days: Sequence[date], patterns: Mapping[str, set[str]], rng: np.random.Generator
) -> list[str]:
    """Each day in a random language and in a random one of its patterns."""
    choices = [(language, sorted(found)) for language, found in patterns.items() if found]
    texts = []
    for day in days:
        language, found = choices[rng.integers(len(choices))]
        texts.append(write_day(day, found[rng.integers(len(found))], language))
    return texts


def find_patterns(language: str, forms: Sequence[str]) -> set[str]:
    """The different patterns of the forms in a language, such as {"d MMMM y", "dd/MM/y"}."""
    from babel import Locale

    locale, patterns = Locale.parse(language), set()
    for form in forms:
        weekday, comma, length = form.rpartition(", ")
        found = locale.date_formats.get(length) or locale.datetime_skeletons[length]
        patterns.add(f"{weekday}{comma}{found.pattern}")
    return patterns


def write_day(day: date, pattern: str, language: str) -> str:
    """A day in a pattern of CLDR, such as "d MMMM y", as plain text."""
    from babel.dates import format_date

    return plain_text(format_date(day, pattern, language))
