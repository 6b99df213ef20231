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
    if in_notebook():
        return OneLine()
    if not console.is_terminal or console.is_dumb_terminal:
        return Lines(console, interval_s=interval_s)
    from kaggle_kit.render.bars import Bars  # most commands end before there is anything to draw

    return Bars(console)


def in_kernel() -> bool:
    """Whether this process is the kernel of a notebook."""
    return "ipykernel" in sys.modules


def in_notebook() -> bool:
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
        self._tasks: list[weakref.ref[_LineTask | _OneLineTask]] = []  # one that an error cut short is not held

    def __bool__(self) -> bool:
        return any(task() for task in self._tasks)

    def add(self, task: _LineTask | _OneLineTask) -> None:
        """A piece of work began."""
        self._tasks.append(weakref.ref(task))

    def end(self, task: _LineTask | _OneLineTask) -> None:
        """A piece of work is no longer open."""
        self._tasks = [one for one in self._tasks if one() is not task]

    def line(self) -> str:
        """One line for all that is open, the newest first: a file, then the download that it belongs to."""
        return "; ".join(task.measure.line() for one in reversed(self._tasks) if (task := one()) is not None)


class Lines:
    """One line for each finished piece of work that has something to tell, and every ``interval_s`` seconds in between."""

    def __init__(
        self, console: Console, *, interval_s: float = LINE_INTERVAL_S, now: Callable[[], float] = time.monotonic
    ) -> None:
        self.console = console
        self.interval_s = interval_s
        self.now = now
        self.open = _Open()
        self._last = 0.0

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> Task:
        """Begin to watch ``what``."""
        task = _LineTask(self, Measure(what, total, unit, self.now, done=done))
        if not self.open:
            self._last = self.now()
        self.open.add(task)
        return task

    def tick(self) -> None:
        """Say where all that is open is, if it is time to."""
        if self.now() - self._last >= self.interval_s:
            self._last = self.now()
            self.say(self.open.line())

    def note(self, text: str) -> None:
        """One line for people."""
        self.say(clean(text))

    def say(self, line: str) -> None:
        """Print a line whole, however wide: it goes to a file or a log."""
        self.console.print(Text(line), soft_wrap=True)

    def close(self) -> None:
        """Nothing stays open."""


class _LineTask:
    def __init__(self, screen: Lines, measure: Measure) -> None:
        self.screen = screen
        self.measure = measure

    def update(self, done: float, **figures: object) -> None:
        """Say where the work is, if it is time to."""
        self.measure.update(done, figures)
        self.screen.tick()

    def finish(self, summary: str = "") -> None:
        """Say how it ended; work without a summary is mentioned when it took long enough to have been noticed."""
        self.screen.open.end(self)
        took = self.measure.now() - self.measure.begun
        if summary:
            self.screen.say(clean(summary))
        elif took >= self.screen.interval_s:
            self.screen.say(f"{self.measure.what}: done in {duration(took)}")


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


class OneLine:
    """A notebook's cell: one line that is replaced, below a line that stays for each summary and note."""

    def __init__(
        self,
        output: CellOutput | None = None,
        *,
        interval_s: float = 0.2,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.output = output or CellOutput()
        self.interval_s = interval_s
        self.now = now
        self.open = _Open()
        self._kept: list[str] = []
        self._line = ""
        self._last = now() - interval_s

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> Task:
        """Begin to watch ``what``."""
        task = _OneLineTask(self, Measure(what, total, unit, self.now, done=done))
        self.open.add(task)
        return task

    def tick(self) -> None:
        """Write the line anew, not more often than an eye can follow."""
        if self.now() - self._last >= self.interval_s:
            self._last = self.now()
            self.replace(self.open.line())

    def note(self, text: str) -> None:
        """A line that stays."""
        self.replace(clean(text), stay=True)

    def replace(self, line: str, *, stay: bool = False) -> None:
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
        self.replace("")


class _OneLineTask:
    def __init__(self, screen: OneLine, measure: Measure) -> None:
        self.screen = screen
        self.measure = measure

    def update(self, done: float, **figures: object) -> None:
        """Show where the work is."""
        self.measure.update(done, figures)
        self.screen.tick()

    def finish(self, summary: str = "") -> None:
        """Leave the summary, or nothing."""
        self.screen.open.end(self)
        self.screen.replace(clean(summary), stay=bool(summary))
