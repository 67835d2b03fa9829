"""A hook of mkdocs: README.md, CONTRIBUTING.md and CHANGELOG.md are pages of the site.

Their links, which are relative to the root of the repository, become relative to docs/. Links to other files
lead to the repository on the web.
"""

import re
from functools import partial
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
# Files of the repository that a page of the site shows.
SHOWN = {"examples/own_model.py": "own_model.md"}
_LINK = re.compile(r"(\]\()([^)#:\s]+)((?:#[^)\s]*)?\))")


def on_files(files: Files, config: Any) -> Files:
    """Adds the three pages."""
    repository = config.extra["repository"]
    for name, page in PAGES.items():
        text = (ROOT / name).read_text()
        files.append(File.generated(config, page, content=_LINK.sub(partial(_from_root, repository), text)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Mends the links of the pages in docs/ to files above it."""
    return _LINK.sub(partial(_from_docs, config.extra["repository"]), markdown)


def _from_root(repository: str, link: re.Match[str]) -> str:
    """A link that is relative to the root of the repository, as a page of the site has it."""
    return f"{link[1]}{_on_site(link[2], repository)}{link[3]}"


def _from_docs(repository: str, link: re.Match[str]) -> str:
    """A link that is relative to docs/, as a page of the site has it."""
    above = link[2].startswith("../") and (ROOT / link[2].removeprefix("../")).exists()
    return f"{link[1]}{_on_site(link[2].removeprefix('../'), repository)}{link[3]}" if above else link[0]


def _on_site(path: str, repository: str) -> str:
    """Where a file of the repository is on the site, or on the web."""
    if path in PAGES | SHOWN:
        return (PAGES | SHOWN)[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if not (ROOT / path).exists():
        raise ValueError(f"{path} is not in the repository")
    return f"{repository}/blob/main/{path}"
