"""SIGTERM and Ctrl-C.

The first signal ends a run after its current compiled call, the second one immediately.
"""

import signal
import threading
from types import FrameType
from typing import Any


class Interrupt:
    """A context in which the first SIGINT or SIGTERM only sets `received` to its name.

    Outside the main thread, where Python allows no signal handlers, the context does nothing.
    """

    received: str | None = None
    _before: dict[int, Any]

    def __enter__(self) -> "Interrupt":
        if threading.current_thread() is not threading.main_thread():
            self._before = {}
            return self
        self._before = {
            number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)
        }
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received:
            raise KeyboardInterrupt
        self.received = signal.Signals(number).name
