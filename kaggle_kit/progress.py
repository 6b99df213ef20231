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


class InAll:
    """A ``Progress`` that shows each download, and above them all of them together.

    Args:
        progress: where to show them.
        what: what all of them are.
        total: bytes of all.
        there: bytes of them that earlier calls left.
    """

    def __init__(self, progress: Progress, what: str, total: float, there: float) -> None:
        self._progress = progress
        self._task = progress.start(what, total, "B", done=there)
        self._done = there

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> Task:
        """Begin to watch one download."""
        return _Part(self, self._progress.start(what, total, unit, done=done), done)

    def note(self, text: str) -> None:
        """One line for people."""
        self._progress.note(text)

    def add(self, count: float) -> None:
        """``count`` more bytes are there."""
        self._done += count
        self._task.update(self._done)

    def finish(self) -> None:
        """All are there."""
        self._task.finish()


class _Part:
    def __init__(self, whole: InAll, task: Task, done: float) -> None:
        self._whole, self._task, self._done = whole, task, done

    def update(self, done: float, **figures: object) -> None:
        self._task.update(done, **figures)
        self._whole.add(done - self._done)
        self._done = done

    def finish(self, summary: str = "") -> None:
        self._task.finish(summary)


_BYTE_UNITS = ("B", "kB", "MB", "GB", "TB")


def size(count: float) -> str:
    """A number of bytes in decimal units, as people read it: ``627 MB``."""
    power = 0
    while abs(count) >= 999.5 and power < len(_BYTE_UNITS) - 1:
        count /= 1000
        power += 1
    return f"{count:.0f} {_BYTE_UNITS[power]}" if not power or count >= 99.5 else f"{count:.1f} {_BYTE_UNITS[power]}"
