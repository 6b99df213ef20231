"""Tables that fit their terminal: numbers are never cut, text columns shrink, columns of least use give way."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style
from rich.text import Text

from kaggle_kit.render.text import clean

if TYPE_CHECKING:
    from rich.table import Table

Row = Mapping[str, Any]

FIRST_COMBINING = "\u0300"
_GAP = 2  # blanks between two columns, one of them drawn by the box
_NARROWEST = 5  # places of a text where not even the least widths fit: better than lines that the terminal breaks


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
        cells = {column.key: _Cells(column, self.rows) for column in self.columns}
        columns, hidden = self._that_fit(cells, options.max_width)
        widths = _widths(columns, cells, options.max_width)
        if self.wrap:
            yield self._table(columns, cells, widths)
        else:
            yield from self._lines(columns, cells, widths)
        if hidden:
            names = ", ".join(column.title.strip().lower() for column in hidden)
            yield Text(f"no room for {names}", style="dim")

    def _that_fit(self, cells: Mapping[str, _Cells], width: int) -> tuple[list[Column], list[Column]]:
        """The columns that fit at their least widths, and those that gave way; columns without any value never take room."""
        shown = [column for column in self.columns if not column.order or cells[column.key].any]
        hidden: list[Column] = []
        while sum(cells[column.key].least + _GAP for column in shown) - _GAP > width:
            movable = [column for column in shown if column.order]
            if not movable:
                break
            worst = max(movable, key=lambda column: column.order)
            shown.remove(worst)
            hidden.append(worst)
        return shown, hidden

    def _lines(
        self, columns: Sequence[Column], cells: Mapping[str, _Cells], widths: Mapping[str, int]
    ) -> Iterator[Segment]:
        """The table line by line; thousands of rows are drawn at once, which a rich Table takes seconds for."""
        gap = " " * _GAP
        if self.heading:
            titles = [_fitted(column.title, widths[column.key], right=column.right) for column in columns]
            yield Segment(gap.join(titles).rstrip(), Style(bold=True))
            yield Segment("\n")
            yield Segment("─" * (sum(widths[column.key] + _GAP for column in columns) - _GAP) + "\n")
        padded = [cells[column.key].padded(widths[column.key]) for column in columns]
        styles = map(self.style, self.rows)
        lines = [gap.join(parts).rstrip() for parts in zip(*padded, strict=True)]
        for style, block in groupby(zip(styles, lines, strict=True), key=itemgetter(0)):
            text = "\n".join(line for _, line in block)
            yield Segment(text, Style.parse(style) if style else None)
            yield Segment("\n")

    def _table(self, columns: Sequence[Column], cells: Mapping[str, _Cells], widths: Mapping[str, int]) -> Table:
        """The table with text broken over lines."""
        from rich import box
        from rich.table import Table

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
                no_wrap=not column.least,
                overflow="fold",
            )
        for index, row in enumerate(self.rows):
            table.add_row(*(Text(cells[column.key].texts[index]) for column in columns), style=self.style(row))
        return table

    def to_csv(self) -> str:
        """The rows with all columns, unformatted, for a spreadsheet."""
        target = io.StringIO()
        writer = csv.writer(target, lineterminator="\n")
        writer.writerow([column.key for column in self.columns])
        writer.writerows(
            [["" if row.get(column.key) is None else row[column.key] for column in self.columns] for row in self.rows]
        )
        return target.getvalue()


class _Cells:
    """The texts of one column and how wide they are."""

    def __init__(self, column: Column, rows: Sequence[Row]) -> None:
        show, key = column.show, column.key
        self.column = column
        self.texts = [show(row.get(key)) for row in rows]
        self.any = any(self.texts)
        # below the combining characters each takes one place, which saves measuring every text
        self.narrow = max("".join(self.texts), default="") < FIRST_COMBINING
        width = len if self.narrow else cell_len
        self.natural = max(cell_len(column.title), max(map(width, self.texts), default=0))
        self.least = min(self.natural, max(column.least, cell_len(column.title))) if column.least else self.natural

    def padded(self, width: int) -> list[str]:
        """The texts in ``width`` places each; one that may shrink ends in an ellipsis when it does."""
        right = self.column.right
        if not self.narrow or self.natural > width:
            return [_fitted(text, width, right=right) for text in self.texts]
        return [text.rjust(width) if right else text.ljust(width) for text in self.texts]


def _fitted(text: str, width: int, *, right: bool) -> str:
    """``text`` in exactly ``width`` places, cut with an ellipsis when it is longer."""
    taken = cell_len(text)
    if taken > width:
        text = set_cell_size(text, width - 1).rstrip() + "…"
        taken = cell_len(text)
    blanks = " " * (width - taken)
    return blanks + text if right else text + blanks


def _widths(columns: Sequence[Column], cells: Mapping[str, _Cells], width: int) -> dict[str, int]:
    """The width of each column: its natural one, text columns sharing what there is when that is too much."""
    widths = {column.key: cells[column.key].natural for column in columns}
    over = sum(widths.values()) + _GAP * (len(columns) - 1) - width
    for least in ({column.key: cells[column.key].least for column in columns}, dict.fromkeys(widths, _NARROWEST)):
        while over > 0:
            # the widest of those that can still shrink gives first, so that short columns stay whole
            elastic = [column for column in columns if column.least and widths[column.key] > least[column.key]]
            if not elastic:
                break
            widest = max(elastic, key=lambda column: widths[column.key])
            widths[widest.key] -= 1
            over -= 1
    return widths
