"""How long work reports that it is getting on: the library calls, the render layer shows."""

from __future__ import annotations

from typing import Protocol


class Task(Protocol):
    """One piece of long work being watched."""

    def update(self, done: float, **figures: object) -> None:
        """``done`` units are finished in all; ``figures`` (loss, mrr, …) are shown beside."""

    def finish(self, summary: str = "") -> None:
        """The work ended; ``summary`` is one line worth keeping."""


class Progress(Protocol):
    """Where the library tells what it is doing; it never prints itself."""

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> Task:
        """Begin to watch ``what``: ``total`` units (bytes when ``unit`` is ``"B"``), None when unknown.

        ``done`` units were there before, from an interrupted call: they count as done, not as fast work.
        """

    def note(self, text: str) -> None:
        """One line for people: a choice that was made, a warning."""


class _SilentTask:
    def update(self, done: float, **figures: object) -> None:
        pass

    def finish(self, summary: str = "") -> None:
        pass


class Silence:
    """A ``Progress`` that shows nothing: the default of every library function."""

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> Task:
        return _SilentTask()

    def note(self, text: str) -> None:
        pass


SILENCE = Silence()

_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: float) -> str:
    """A number of bytes in decimal units, as people read it: ``627 MB``."""
    power = 0
    while abs(count) >= 999.5 and power < len(_BYTE_UNITS) - 1:
        count /= 1000
        power += 1
    return f"{count:.0f} {_BYTE_UNITS[power]}" if not power or count >= 99.5 else f"{count:.1f} {_BYTE_UNITS[power]}"
