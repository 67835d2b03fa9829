"""Prints the lowest versions that pyproject.toml allows, as constraints for pip.

`python .ci/lowest.py > lowest.txt`, and in a checkout without a .venv `make test CONSTRAINTS=lowest.txt`.
"""

import re
import tomllib
from pathlib import Path

EXTRAS = ("torch", "test", "export")


def main() -> None:
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    requirements = set(project["dependencies"])
    for extra in EXTRAS:
        requirements |= set(project["optional-dependencies"][extra])
    for requirement in sorted(requirements):
        found = re.fullmatch(r"([\w.-]+)>=([\w.]+)(?:,<[\w.]+)?", requirement)
        if found is None:
            raise ValueError(f"{requirement} has no lower bound of the form name>=version")
        print(f"{found[1]}=={found[2]}")


if __name__ == "__main__":
    main()
