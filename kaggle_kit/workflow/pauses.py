"""Pauses between two looks at the service: longer and longer, while the line that tells of the wait goes on."""

from __future__ import annotations

import time

from kaggle_kit.progress import Task

GLANCE_S = 1.0
"""Seconds after which the line that says how long the wait has been is written anew."""

GROWTH = 1.5
LEAST_S = 0.01
"""Seconds from which a pause of none grows."""


class Pauses:
    """The pauses of one wait.

    Args:
        watch: is told how long the wait has been.
        first_s, last_s: seconds of the first pause, and at most.
    """

    def __init__(self, watch: Task, first_s: float, last_s: float) -> None:
        self._watch = watch
        self._first_s, self._last_s = first_s, last_s
        self._started = time.monotonic()
        self.next_s = first_s

    @property
    def waited_s(self) -> float:
        """Seconds since the wait began."""
        return time.monotonic() - self._started

    def rest(self) -> None:
        """Sleep, and let the waiting line go on meanwhile; the next pause is longer."""
        end = time.monotonic() + self.next_s
        while (left := end - time.monotonic()) > 0:
            self._watch.update(self.waited_s)
            time.sleep(min(left, GLANCE_S))
        self.next_s = min(max(self.next_s * GROWTH, LEAST_S), self._last_s)

    def shorten(self) -> None:
        """Something happened: the next pause is as short as the first."""
        self.next_s = self._first_s
