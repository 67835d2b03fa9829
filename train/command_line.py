"""The shared part of all commands: flags by tyro, and errors as one line with exit status 2."""

import os
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import tyro

from train.allocator import restart_with_settings

Flags = TypeVar("Flags")


def run_command(prog: str, main: Callable[[list[str]], None]) -> None:
    """Calls main with the command line; a ValueError becomes one line on stderr and exit status 2.

    If main is in the module that Python runs, the process first gets the allocator's settings.
    """
    if main.__module__ == "__main__":
        restart_with_settings()
    try:
        main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of a pipe, such as head, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ValueError as error:
        print(f"{prog}: {' '.join(str(error).split())}", file=sys.stderr)
        sys.exit(2)


def parse_flags(
    flags: type[Flags] | Callable[..., Flags], args: Sequence[str], *, prog: str, default: Any = None
) -> Flags:
    """The flags of a command, an instance of the class `flags`.

    default: an instance that gives the defaults. tyro reports bad flags itself, with exit status 2.
    """
    options: dict[str, Any] = {} if default is None else {"default": default}
    return tyro.cli(flags, args=args, prog=prog, config=(tyro.conf.AvoidSubcommands,), **options)
