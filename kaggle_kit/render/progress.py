"""Progress of long work: live bars on a terminal, one updating line in a notebook, few plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from kaggle_kit.notebook import KERNELS_PARENT, RUN_TYPE
from kaggle_kit.progress import Task
from kaggle_kit.render.measure import Measure
from kaggle_kit.render.text import clean, duration

if TYPE_CHECKING:
    from kaggle_kit.render.bars import Bars

LINE_INTERVAL_S = 30.0
"""Seconds between two lines about the same work when nothing can be updated in place: a log is not a display."""


def progress_on(console: Console, *, interval_s: float = LINE_INTERVAL_S) -> Bars | Lines | OneLine:
    """The kind of progress that suits where ``console`` writes."""
    if in_watched_kernel():
        return OneLine()
    if not console.is_terminal or console.is_dumb_terminal:
        return Lines(console, interval_s=interval_s)
    from kaggle_kit.render.bars import Bars  # most commands end before there is anything to draw

    return Bars(console)


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules


def in_watched_kernel() -> bool:
    """Whether this process is the kernel of a notebook that a person looks at."""
    return in_kernel() and os.environ.get(RUN_TYPE) != "Batch"


def in_cell() -> bool:
    """Whether what is written ends in a notebook's file: this is its kernel, or was started from one of its cells by ``!kk``.

    Such a child has a terminal, as far as it can see. Everything that a terminal would act upon stays in the file.
    """
    return in_kernel() or bool(os.environ.get(KERNELS_PARENT) or os.environ.get(RUN_TYPE))


class _Open:
    """The pieces of work that are being watched, in the order in which they began."""

    def __init__(self) -> None:
        self._tasks: list[weakref.ref[_WrittenTask]] = []  # one that an error cut short is not held

    def __bool__(self) -> bool:
        return any(task() for task in self._tasks)

    def add(self, task: _WrittenTask) -> None:
        """A piece of work began."""
        self._tasks.append(weakref.ref(task))

    def end(self, task: _WrittenTask) -> None:
        """A piece of work is no longer open."""
        self._tasks = [one for one in self._tasks if one() is not task]

    def line(self) -> str:
        """One line for all that is open, the newest first: a file, then the download that it belongs to."""
        return "; ".join(task.measure.line() for one in reversed(self._tasks) if (task := one()) is not None)


class _Written:
    """Progress in words: all that is open on one line, every ``interval_s`` seconds."""

    def __init__(self, interval_s: float, now: Callable[[], float]) -> None:
        self.interval_s = interval_s
        self.now = now
        self.open = _Open()
        self._last = now() - interval_s

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> Task:
        """Begin to watch ``what``."""
        task = _WrittenTask(self, Measure(what, total, unit, self.now, done=done))
        self.open.add(task)
        return task

    def tick(self) -> None:
        """Show where all that is open is, if it is time to."""
        if self.now() - self._last >= self.interval_s:
            self._last = self.now()
            self.show(self.open.line())

    def show(self, line: str) -> None:
        """Write a line."""
        raise NotImplementedError

    def ended(self, measure: Measure, summary: str) -> None:
        """Write how work ended, if that is worth a line."""
        raise NotImplementedError


class _WrittenTask:
    def __init__(self, screen: _Written, measure: Measure) -> None:
        self.screen = screen
        self.measure = measure

    def update(self, done: float, **figures: object) -> None:
        """Show where the work is, if it is time to."""
        self.measure.update(done, figures)
        self.screen.tick()

    def finish(self, summary: str = "") -> None:
        """The work is no longer among what is open."""
        self.screen.open.end(self)
        self.screen.ended(self.measure, clean(summary))


class Lines(_Written):
    """One line for each finished piece of work that has something to tell, and every ``interval_s`` seconds in between."""

    def __init__(
        self, console: Console, *, interval_s: float = LINE_INTERVAL_S, now: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(interval_s, now)
        self.console = console

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> Task:
        """Begin to watch ``what``; the first line about it comes no sooner than those after it."""
        if not self.open:
            self._last = self.now()
        return super().start(what, total, unit, done=done)

    def note(self, text: str) -> None:
        """One line for people."""
        self.show(clean(text))

    def show(self, line: str) -> None:
        """Print a line whole, however wide: it goes to a file or a log."""
        self.console.print(Text(line), soft_wrap=True)

    def ended(self, measure: Measure, summary: str) -> None:
        """Say how work ended; without a summary it is mentioned when it took long enough to have been noticed."""
        took = measure.now() - measure.begun
        if summary:
            self.show(summary)
        elif took >= self.interval_s:
            self.show(f"{measure.what}: done in {duration(took)}")

    def close(self) -> None:
        """Nothing stays open."""


class CellOutput:
    """One output of the cell that is running, replaced as a whole: a saved notebook keeps its last state and nothing of the former ones.

    A carriage return looks the same on the screen, but stays in the file with everything that it wrote over.
    """

    def __init__(self) -> None:
        self._handle: Any = None
        self._cell: object = None

    def begins(self) -> bool:
        """Whether another cell is running than the one that was written to."""
        from IPython import get_ipython

        cell = getattr(get_ipython(), "execution_count", None)
        if self._handle is not None and cell == self._cell:
            return False
        self._cell, self._handle = cell, None
        return True

    def show(self, text: str) -> None:
        """Replace what is shown."""
        from IPython.display import display

        bundle = {"text/plain": text}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)


class OneLine(_Written):
    """A notebook's cell: one line that is replaced, below a line that stays for each summary and note.

    It is not written anew more often than an eye can follow.
    """

    def __init__(
        self,
        output: CellOutput | None = None,
        *,
        interval_s: float = 0.2,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(interval_s, now)
        self.output = output or CellOutput()
        self._kept: list[str] = []
        self._line = ""

    def note(self, text: str) -> None:
        """A line that stays."""
        self.show(clean(text), stay=True)

    def ended(self, measure: Measure, summary: str) -> None:
        """Leave the summary, or nothing."""
        self.show(summary, stay=bool(summary))

    def show(self, line: str, *, stay: bool = False) -> None:
        """Replace the line that is shown; ``stay`` leaves it and goes on below."""
        if self.output.begins():
            self._kept, self._line = [], ""
        if not line and not self._line:
            return
        if stay:
            self._kept.append(line)
        self._line = "" if stay else line
        self.output.show("\n".join([*self._kept, self._line] if self._line else self._kept))

    def close(self) -> None:
        """Leave what stays, and nothing else."""
        self.show("")
