"""What every command of ours does: flags by tyro, and errors as one line with exit status 2."""

import contextlib
import difflib
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import tyro


def run_command(prog: str, main: Callable[[list[str]], None]) -> None:
    """Calls main with the command line; a ValueError becomes one line on stderr and status 2."""
    try:
        main(sys.argv[1:])
    except ValueError as error:
        print(f"{prog}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def parse_flags(cls: Any, args: Sequence[str], *, prog: str, default: Any = tyro.MISSING) -> Any:
    """`tyro.cli`, but every error is a ValueError of one line, with near matches for a flag."""
    errors = io.StringIO()
    options: dict[str, Any] = {"config": (tyro.conf.AvoidSubcommands,)}
    if default is not tyro.MISSING:
        options["default"] = default
    try:
        with contextlib.redirect_stderr(errors):
            value, unknown = tyro.cli(cls, args=args, prog=prog, return_unknown_args=True, **options)
    except SystemExit as stop:
        if not stop.code:
            raise  # --help
        raise ValueError(_first_paragraph(errors.getvalue())) from None
    if unknown:
        flags = set(re.findall(r"--[a-z][\w.-]*", _help_of(cls, prog, options)))
        near = difflib.get_close_matches(unknown[0], flags, n=2, cutoff=0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else "see --help"
        raise ValueError(f"unknown argument {unknown[0]!r}: {hint}")
    return value


def use_compilation_cache() -> None:
    """Compiled steps are kept for the next start, in JAX_COMPILATION_CACHE_DIR or the user's cache."""
    import jax

    if not os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        jax.config.update("jax_compilation_cache_dir", str(home / "flax-torch-twins" / "xla"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def _first_paragraph(box: str) -> str:
    """The message in a box that tyro drew, without the box."""
    lines = [line.strip("│ ") for line in box.splitlines()]
    lines = lines[1:] if lines and lines[0].startswith("╭") else lines
    text = []
    for line in lines:
        if line.startswith(("─", "╰")):
            break
        text.append(line)
    return " ".join(text) or "the arguments cannot be read"


def _help_of(cls: Any, prog: str, options: dict[str, Any]) -> str:
    text = io.StringIO()
    with contextlib.redirect_stdout(text), contextlib.suppress(SystemExit):
        tyro.cli(cls, args=["--help"], prog=prog, **options)
    return text.getvalue()
