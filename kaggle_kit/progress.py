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

    def start(self, what: str, total: float | None = None, unit: str = "") -> Task:
        """Begin to watch ``what``: ``total`` units (bytes when ``unit`` is ``"B"``), None when unknown."""

    def note(self, text: str) -> None:
        """One line for people: a choice that was made, a warning."""


class _SilentTask:
    def update(self, done: float, **figures: object) -> None:
        pass

    def finish(self, summary: str = "") -> None:
        pass


class Silence:
    """A ``Progress`` that shows nothing: the default of every library function."""

    def start(self, what: str, total: float | None = None, unit: str = "") -> Task:
        return _SilentTask()

    def note(self, text: str) -> None:
        pass


SILENCE = Silence()
