"""SIGTERM and Ctrl-C end a command as an error does, but never in the middle of an import.

Libraries in C++ run Python while they are imported; an exception that breaks in there ends the whole process with an abort, without the
exit code or a word of ours. A signal that comes then is delivered again a moment later, until the import is over.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import NoReturn

AGAIN_S = 0.05
"""Seconds until a signal that met an import is delivered again."""

IMPORT_MACHINERY = "<frozen importlib._bootstrap>"


class Terminated(KeyboardInterrupt):
    """SIGTERM was received: like Ctrl-C no error, which code that tries something and goes on without it would catch."""


def end_well_on_signals() -> None:
    """Have SIGTERM and SIGINT raise :class:`Terminated` and ``KeyboardInterrupt`` outside imports (main thread only)."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end_outside_imports)


def _end_outside_imports(number: int, frame: FrameType | None) -> None:
    if not _is_importing(frame):
        _end(number)
    again = threading.Timer(AGAIN_S, _deliver, (number,))
    again.daemon = True
    again.start()


def _end(number: int) -> NoReturn:
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    raise Terminated


def _is_importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == IMPORT_MACHINERY:
            return True
        frame = frame.f_back
    return False


def _deliver(number: int) -> None:
    """Send the signal to the main thread, which alone runs handlers and may be asleep."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, number)
    else:
        signal.raise_signal(number)
