"""SIGTERM and Ctrl-C end a run after its current step; a second one ends it at once."""

import signal
from types import FrameType


class Interrupt:
    """A context in which the first SIGINT or SIGTERM only sets `received` to its name."""

    received: str | None = None

    def __enter__(self) -> "Interrupt":
        self._before = {
            number: signal.signal(number, self._note) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
