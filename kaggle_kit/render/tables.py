"""Tables that fit their terminal: numbers are never cut, text columns shrink, columns of least use give way."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table
from rich.text import Text

from kaggle_kit.render.text import clean

Row = Mapping[str, Any]

_GAP = 2  # blanks between two columns, one of them drawn by the box


def _as_text(value: Any) -> str:
    return "" if value is None else clean(value)


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        key: the row's value that it shows.
        title: its heading.
        show: turns the value into text.
        right: aligned right, as numbers are.
        least: width to which text may shrink; 0: never shrinks.
        order: columns of the highest order give way first when the terminal is narrow; 0 never does.
    """

    key: str
    title: str
    show: Callable[[Any], str] = _as_text
    right: bool = False
    least: int = 0
    order: int = 0


@dataclass(frozen=True)
class Grid:
    """Rows as a table for people, or as CSV.

    Attributes:
        columns: in the order shown.
        rows: the values by column key.
        style: the style of a row ("bold" for the best), given the row.
        empty: what is said instead when there are no rows.
        wrap: whether to break text over lines instead of cutting it.
        heading: whether the columns' titles are shown.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    style: Callable[[Row], str] = lambda row: ""
    empty: str = "nothing to show"
    wrap: bool = False
    heading: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.rows:
            yield Text(self.empty)
            return
        cells = {column.key: [column.show(row.get(column.key)) for row in self.rows] for column in self.columns}
        columns, hidden = self._that_fit(cells, options.max_width)
        yield self._table(columns, cells, options.max_width)
        if hidden:
            names = ", ".join(column.title.lower() for column in hidden)
            yield Text(f"no room for {names}: widen the terminal, or use --json", style="dim")

    def _that_fit(self, cells: Mapping[str, list[str]], width: int) -> tuple[list[Column], list[Column]]:
        """The columns that fit at their least widths, and those that gave way; columns without any value go first."""
        shown, hidden = list(self.columns), []
        while sum(_least(column, cells) + _GAP for column in shown) - _GAP > width:
            movable = [column for column in shown if column.order]
            if not movable:
                break
            worst = max(movable, key=lambda column: (not any(cells[column.key]), column.order))
            shown.remove(worst)
            hidden += [worst] if any(cells[worst.key]) else []
        return shown, hidden

    def _table(self, columns: list[Column], cells: Mapping[str, list[str]], width: int) -> Table:
        widths = _widths(columns, cells, width)
        table = Table(
            box=box.SIMPLE_HEAD if self.heading else box.SIMPLE,
            padding=(0, _GAP - 1, 0, 0),
            show_edge=False,
            show_header=self.heading,
            pad_edge=False,
            header_style="bold",
        )
        for column in columns:
            table.add_column(
                Text(column.title),
                justify="right" if column.right else "left",
                width=widths[column.key],
                no_wrap=not (self.wrap and column.least),
                overflow="fold",
            )
        for index, row in enumerate(self.rows):
            values = [self._cell(column, cells[column.key][index], widths[column.key]) for column in columns]
            table.add_row(*values, style=self.style(row))
        return table

    def _cell(self, column: Column, text: str, width: int) -> Text:
        """The text of a cell; one that may shrink ends in an ellipsis when it does."""
        if self.wrap or not column.least or cell_len(text) <= width:
            return Text(text)
        return Text(set_cell_size(text, width - 1).rstrip() + "…")

    def to_csv(self) -> str:
        """The rows with all columns, unformatted, for a spreadsheet."""
        target = io.StringIO()
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow([column.key for column in self.columns])
        writer.writerows(
            [["" if row.get(column.key) is None else row[column.key] for column in self.columns] for row in self.rows]
        )
        return target.getvalue()


def _natural(column: Column, cells: Mapping[str, list[str]]) -> int:
    return max(cell_len(column.title), *(cell_len(text) for text in cells[column.key]))


def _least(column: Column, cells: Mapping[str, list[str]]) -> int:
    """The narrowest that a column may become."""
    natural = _natural(column, cells)
    return min(natural, max(column.least, cell_len(column.title))) if column.least else natural


def _widths(columns: Sequence[Column], cells: Mapping[str, list[str]], width: int) -> dict[str, int]:
    """The width of each column: its natural one, text columns sharing what there is when that is too much."""
    widths = {column.key: _natural(column, cells) for column in columns}
    over = sum(widths.values()) + _GAP * (len(columns) - 1) - width
    while over > 0:
        # the widest of those that can still shrink gives first, so that short columns stay whole
        elastic = [column for column in columns if column.least and widths[column.key] > _least(column, cells)]
        if not elastic:
            break
        widest = max(elastic, key=lambda column: widths[column.key])
        widths[widest.key] -= 1
        over -= 1
    return widths
