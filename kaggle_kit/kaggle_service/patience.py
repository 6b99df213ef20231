"""How often and how long to try again."""

from __future__ import annotations

import time

from kaggle_kit.kaggle_service.failures import GaveUp, Refusal, Trouble
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import ServiceSettings


class Patience:
    """The tries that one piece of work has left, and the waits between them.

    A wait doubles with every try up to ``backoff_max_s``; when the service names a longer time (``Retry-After``), that one is waited.
    Work that gets on, such as a download whose file grows, starts anew with :meth:`progressed`.
    """

    def __init__(self, settings: ServiceSettings, *, progress: Progress = SILENCE, what: str = "the service") -> None:
        self._settings = settings
        self._progress = progress
        self._what = what
        self._failures = 0
        self._started = time.monotonic()

    @property
    def remaining_s(self) -> float:
        """Seconds left until the deadline; never below a hundredth, so that it can serve as a timeout."""
        return max(0.01, self._started + self._settings.deadline_s - time.monotonic())

    @property
    def expired(self) -> bool:
        """The deadline has passed."""
        return time.monotonic() - self._started >= self._settings.deadline_s

    def progressed(self) -> None:
        """The work got on: forget the failures so far."""
        self._failures = 0
        self._started = time.monotonic()

    def wait(self, failure: Refusal | Trouble) -> None:
        """Sleep until the next try.

        Raises:
            GaveUp: there is no further try: none left, or the wait would end after the deadline.
        """
        self._failures += 1
        seconds = max(self._backoff_s(), failure.retry_after or 0.0)
        if self._failures >= self._settings.attempts:
            raise GaveUp(failure, f"after {self._failures} tries")
        if seconds > self.remaining_s or self.expired:
            raise GaveUp(failure, self._too_long(seconds, failure))
        if seconds:
            self._progress.note(f"{self._what}: {failure}; trying again in {seconds:g} s")
            time.sleep(seconds)

    def _backoff_s(self) -> float:
        return float(min(self._settings.backoff_max_s, self._settings.backoff_s * 2 ** (self._failures - 1)))

    def _too_long(self, seconds: float, failure: Refusal | Trouble) -> str:
        limit = f"the deadline of {self._settings.deadline_s:g} s (service.deadline_s)"
        if failure.retry_after is not None:
            return f"it asks to wait {seconds:g} s, beyond {limit}"
        return f"{limit} is reached"
