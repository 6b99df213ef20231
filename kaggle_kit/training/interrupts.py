"""Stopping well: a signal is noted, the step in progress ends, the state is saved, then the run stops."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from kaggle_kit.errors import InterruptedWork


class StopRequest:
    """Whether somebody asked the training to stop, and how."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __bool__(self) -> bool:
        return self.signal is not None

    def note(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: remember the first request; a second Ctrl-C stops at once, without saving."""
        if self.signal == signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    def raise_stop(self, where: str) -> None:
        """Leave, once everything is saved.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            InterruptedWork: SIGTERM was received.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt("the state is saved; kk train --resume goes on from there")
        raise InterruptedWork(
            f"stopped by SIGTERM at {where}; the state is saved", "kk train --resume goes on from there"
        )


@contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """While the block runs, SIGTERM and SIGINT are noted in the result instead of breaking in (main thread only)."""
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    former = {number: signal.signal(number, request.note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
