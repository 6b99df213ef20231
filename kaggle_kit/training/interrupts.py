"""Stopping well: a signal or the end of the time budget is noted, the step in progress ends, the state is saved, then the run stops."""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from kaggle_kit.errors import InterruptedWork
from kaggle_kit.settings import duration_text

GO_ON = "kk train --resume goes on from there"
MARGIN_SHARE = 0.1
"""Of a short budget no more than this share is kept back for saving."""


class Deadline:
    """The instant at which a command must have ended.

    Args:
        budget_s: seconds that the command may take in all.
        margin_s: seconds of them kept back for what cannot be foreseen; a tenth of the budget at most.
        clock: seconds that never go backwards.
        started: what the clock showed when the command began; now when None.
    """

    def __init__(
        self,
        budget_s: float,
        margin_s: float = 0.0,
        *,
        clock: Callable[[], float] = time.monotonic,
        started: float | None = None,
    ) -> None:
        self.budget_s, self.clock = budget_s, clock
        self.margin_s = min(margin_s, MARGIN_SHARE * budget_s)
        self.started = clock() if started is None else started

    def passed_s(self) -> float:
        """Seconds since the command began."""
        return self.clock() - self.started

    def left_s(self) -> float:
        """Seconds that may still be worked, the margin taken off; negative when they are over."""
        return self.budget_s - self.margin_s - self.passed_s()


class StopRequest:
    """Whether the training is to stop: somebody asked for it, or the time left would not last for what comes next."""

    def __init__(self, deadline: Deadline | None = None) -> None:
        self.signal: int | None = None
        self.deadline = deadline
        self.out_of_time = False
        self.longest: dict[str, float] = {}
        self._times: Counter[str] = Counter()

    def __bool__(self) -> bool:
        return self.signal is not None or self.out_of_time

    def note(self, number: int, frame: FrameType | None) -> None:
        """Signal handler: remember the first request; a second Ctrl-C stops at once, without saving."""
        if self.signal == signal.SIGINT and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = number

    @contextmanager
    def timed(self, work: str) -> Iterator[None]:
        """Measure ``work``, so that :meth:`before` knows how long it may take.

        The first of a kind warms up (libraries are loaded, kernels chosen): it counts only until there is a second.
        """
        clock = time.monotonic if self.deadline is None else self.deadline.clock
        started = clock()
        yield
        self._times[work] += 1
        former = self.longest.get(work, 0.0) if self._times[work] > 2 else 0.0
        self.longest[work] = max(former, clock() - started)

    def before(self, *works: str) -> bool:
        """Whether to stop now, because the time left is shorter than the longest of each of ``works`` so far took together."""
        if self.deadline is not None and not self.out_of_time:
            self.out_of_time = self.deadline.left_s() <= sum(self.longest.get(work, 0.0) for work in works)
        return bool(self)

    def raise_stop(self, where: str) -> None:
        """Leave, once everything is saved.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed.
            InterruptedWork: SIGTERM was received, or the time budget is used up.
        """
        if self.signal == signal.SIGINT:
            raise KeyboardInterrupt("the state is saved, to go on")
        if self.signal is not None or self.deadline is None:
            raise InterruptedWork(f"stopped by SIGTERM at {where}; the state is saved", GO_ON)
        raise InterruptedWork(
            f"stopped at {where}, {duration_text(self.deadline.passed_s())} into the time budget of "
            f"{duration_text(self.deadline.budget_s)}: the rest would not last for what comes next; the state is saved",
            GO_ON,
        )


@contextmanager
def stop_on_signals(deadline: Deadline | None = None) -> Iterator[StopRequest]:
    """While the block runs, SIGTERM and SIGINT are noted in the result instead of breaking in (main thread only)."""
    request = StopRequest(deadline)
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    former = {number: signal.signal(number, request.note) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield request
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
