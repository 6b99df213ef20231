"""How far a piece of work is, in words: what bars, lines and a notebook's cell show alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from kaggle_kit.render.text import clean, clock, figure, size

_RATE_MEMORY_S = 30.0


class Measure:
    """How far a piece of work is, how fast it goes and how long it still takes."""

    def __init__(
        self,
        what: str,
        total: float | None,
        unit: str,
        now: Callable[[], float] = time.monotonic,
        *,
        done: float = 0.0,
    ) -> None:
        self.what = clean(what)
        self.total = total
        self.unit = unit
        self.now = now
        self.begun = now()
        self.done = done
        self.figures: Mapping[str, object] = {}
        self._marks = [(self.begun, done)]

    def update(self, done: float, figures: Mapping[str, object]) -> None:
        """``done`` units are finished in all."""
        self.done = done
        self.figures = figures or self.figures
        moment = self.now()
        self._marks.append((moment, done))
        while len(self._marks) > 2 and moment - self._marks[0][0] > _RATE_MEMORY_S:
            self._marks.pop(0)

    @property
    def rate(self) -> float | None:
        """Units a second lately; None before the first."""
        (start, before), (end, after) = self._marks[0], self._marks[-1]
        return (after - before) / (end - start) if end > start and after > before else None

    @property
    def left_s(self) -> float | None:
        """Seconds until the end at this rate; None when unknown."""
        rate = self.rate
        return None if not rate or self.total is None else max(0.0, self.total - self.done) / rate

    def amount(self) -> str:
        """``12 of 100 epochs``, ``12.3 MB of 627 MB``."""
        if self.unit == "B":
            return size(self.done) + (f" of {size(self.total)}" if self.total is not None else "")
        total = f" of {figure(self.total)}" if self.total is not None else ""
        return f"{figure(self.done)}{total} {self.unit}".rstrip()

    def speed(self) -> str:
        """``3.1 epochs/s``, ``41 MB/s``; empty when unknown."""
        if not self.rate or self.unit == "s":  # a wait goes at one second a second
            return ""
        if self.unit == "B":
            return f"{size(self.rate)}/s"
        return f"{figure(self.rate)} {self.unit}/s" if self.unit else f"{figure(self.rate)}/s"

    def left(self) -> str:
        """``0:42 left``; empty when unknown."""
        return f"{clock(self.left_s)} left" if self.left_s is not None else ""

    def shown_figures(self, digits: int = 4) -> str:
        """``loss 1.234, mrr 0.456, 12,300 samples/s``."""
        known = {clean(name): value for name, value in self.figures.items() if value is not None}
        return ", ".join(_named(name, figure(value, digits)) for name, value in known.items())

    def parts(self, digits: int = 4) -> list[str]:
        """Amount, time left, figures and speed, the most wanted first; the speed only when no figure is one."""
        amount = self.amount() if self.done or self.total else ""
        speed = "" if any(name.endswith("_per_s") for name in self.figures) else self.speed()
        return [part for part in (amount, self.left(), self.shown_figures(digits), speed) if part]

    def line(self) -> str:
        """All of it on one line."""
        parts = self.parts()
        return f"{self.what}: {', '.join(parts)}" if parts else self.what


def _named(name: str, value: str) -> str:
    """A figure with its name, a rate with its unit."""
    unit, rate, _ = name.partition("_per_s")
    return f"{value} {unit}/s" if rate else f"{name.replace('_', ' ')} {value}"
