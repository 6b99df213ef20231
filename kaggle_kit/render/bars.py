"""Progress as live bars on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, TaskID, TextColumn
from rich.progress import Task as BarTask
from rich.text import Text

from kaggle_kit.progress import Task
from kaggle_kit.render.measure import Measure
from kaggle_kit.render.text import clean


class Bars:
    """Live bars on a terminal; they vanish when the work ends, summaries and notes stay above them."""

    def __init__(self, console: Console, now: Callable[[], float] = time.monotonic) -> None:
        self.console = console
        self.now = now
        self._live: Progress | None = None
        self._open: set[TaskID] = set()

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> Task:
        """Begin to watch ``what``."""
        if self._live is None:
            self._live = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=max(8, min(20, self.console.width // 6 - 6))),
                _MeasureColumn(),
                console=self.console,
                transient=True,
                refresh_per_second=8,
            )
            self._live.start()
        measure = Measure(what, total, unit, self.now, done=done)
        task = self._live.add_task(measure.what, total=total, measure=measure)
        self._open.add(task)
        return _BarHandle(self, task, measure)

    def note(self, text: str) -> None:
        """One line for people, above the bars."""
        self.console.print(Text(clean(text)), soft_wrap=True)

    def move(self, task: TaskID, measure: Measure) -> None:
        """Redraw a bar."""
        if self._live is not None and task in self._open:
            self._live.update(task, completed=measure.done)

    def end(self, task: TaskID) -> None:
        """Take a bar away, and the display with the last one."""
        if self._live is None or task not in self._open:
            return
        self._open.discard(task)
        self._live.remove_task(task)
        if not self._open:
            self.close()

    def close(self) -> None:
        """Stop the live display, whatever is still open."""
        if self._live is not None:
            self._live.stop()
            self._live = None
            self._open.clear()


class _BarHandle:
    def __init__(self, bars: Bars, task: TaskID, measure: Measure) -> None:
        self.bars = bars
        self.task = task
        self.measure = measure

    def update(self, done: float, **figures: object) -> None:
        """Move the bar."""
        self.measure.update(done, figures)
        self.bars.move(self.task, self.measure)

    def finish(self, summary: str = "") -> None:
        """Take the bar away and leave the summary."""
        self.bars.end(self.task)
        if summary:
            self.bars.note(summary)


class _MeasureColumn(ProgressColumn):
    """Amount, figures, rate and time left beside a bar."""

    def render(self, task: BarTask) -> Text:
        """The text beside the bar of ``task``."""
        measure: Measure = task.fields["measure"]
        return Text("  ".join(measure.parts(digits=3)), no_wrap=True, overflow="ellipsis")
