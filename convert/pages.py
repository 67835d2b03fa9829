"""Markdown pages of which a command writes one section: between the lines <!-- table --> and <!-- end -->."""

from pathlib import Path

from train.engine.run_folders import write_text

BEGIN, END = "<!-- table -->", "<!-- end -->"


def read_section(page: Path) -> str:
    """The text between the two lines of a page. Errors: ValueError for a page without these lines."""
    return _parts(page)[1]


def write_section(page: Path, section: str) -> None:
    """Replaces the text between the two lines of a page, which ends with a newline.

    Errors: ValueError for a page without these lines.
    """
    before, _, after = _parts(page)
    write_text(page, f"{before}{BEGIN}\n{section}{END}{after}")


def _parts(page: Path) -> tuple[str, str, str]:
    before, begin, rest = page.read_text().partition(BEGIN) if page.is_file() else ("", "", "")
    section, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{page} has no lines {BEGIN} and {END}, between which the command writes")
    return before, section, after
