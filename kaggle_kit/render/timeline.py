"""Scores over time as a plot of characters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from kaggle_kit.render.text import moment
from kaggle_kit.render.views import View

PUBLIC, CV, BEST = "●", "○", "─"
ROWS = 15
TICKS_EVERY = 3
_LABEL = 8


def score_plot(table: Any) -> View:
    """Public score and CV of each row over time, and the best public score so far."""
    rows = [row for row in table.rows if _when(row) is not None and _figures(row)]
    if not rows:
        yield Text("nothing is scored yet: there is no score to plot")
        return
    yield Timeline(sorted(rows, key=lambda row: _when(row) or 0.0))
    shown = [f"{PUBLIC} public score"] if any(row.get("public_score") is not None for row in rows) else []
    shown += [f"{BEST} best so far"] if shown else []
    shown += [f"{CV} CV"] if any(row.get("cv") is not None for row in rows) else []
    yield Text("   ".join(shown), style="dim")


@dataclass(frozen=True)
class Timeline:
    """Rows with a time and scores, oldest first, drawn as wide as the terminal."""

    rows: Sequence[Mapping[str, Any]]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(10, min(options.max_width, 160) - _LABEL - 2)
        values = [value for row in self.rows for value in _figures(row)]
        low, high = min(values), max(values)
        margin = (high - low) * 0.02 or 0.005
        low, high = low - margin, high + margin
        cells = [[" "] * width for _ in range(ROWS)]
        places = _places([_when(row) or 0.0 for row in self.rows], width)
        self._draw(cells, places, low, high)
        for number, line in enumerate(cells):
            value = high - (high - low) * number / (ROWS - 1)
            label = f"{value:{_LABEL}.4f} ┤" if number % TICKS_EVERY == 0 or number == ROWS - 1 else " " * _LABEL + " │"
            yield Text(label + "".join(line).rstrip())
        first, last = (
            moment(row.get("created") or row.get("day"), "%d %b %Y") for row in (self.rows[0], self.rows[-1])
        )
        yield Text(" " * _LABEL + " └" + "─" * width)
        yield Text(" " * (_LABEL + 2) + (first if first == last else first + last.rjust(width - len(first))))

    def _draw(self, cells: list[list[str]], places: Sequence[int], low: float, high: float) -> None:
        def row_of(value: float) -> int:
            return round((high - value) / (high - low) * (ROWS - 1))

        best, before = None, 0
        for row, place in zip(self.rows, places, strict=True):
            public = row.get("public_score")
            if best is not None:
                for column in range(before, place + 1):
                    cells[row_of(best)][column] = BEST
            if public is not None:
                best = public if best is None else max(best, public)
            before = place
        for key, mark in (("cv", CV), ("public_score", PUBLIC)):
            for row, place in zip(self.rows, places, strict=True):
                if row.get(key) is not None:
                    cells[row_of(row[key])][place] = mark


def _figures(row: Mapping[str, Any]) -> list[float]:
    return [row[key] for key in ("cv", "public_score") if row.get(key) is not None]


def _when(row: Mapping[str, Any]) -> float | None:
    """Seconds since 1970 of a row's time or day; None without a readable one."""
    try:
        when = datetime.fromisoformat(str(row.get("created") or row.get("day")))
    except ValueError:
        return None
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _places(times: Sequence[float], width: int) -> list[int]:
    """The column of each time; of equal times, in their order."""
    start, span = times[0], times[-1] - times[0]
    if span <= 0:
        return [round(number / max(1, len(times) - 1) * (width - 1)) for number in range(len(times))]
    return [round((time - start) / span * (width - 1)) for time in times]
