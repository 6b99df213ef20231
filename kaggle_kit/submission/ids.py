"""The ids of a file against the ids wanted: unknown, twice, out of order, missing."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kaggle_kit.errors import SubmissionError
from kaggle_kit.submission.report import Problem, shown
from kaggle_kit.submission.rows import Record

_INTEGER = re.compile(r"[+-]?[0-9]{1,100}")


def listed_ids(ids: Sequence[Any] | np.ndarray) -> list[Any]:
    """Ids as Python's integers or texts, (n,).

    Raises:
        SubmissionError: one is neither; two lists of ids could then never be compared.
    """
    # not by way of an array, which would make floats of integers on both sides of 2⁶³
    plain = [one.item() if isinstance(one, np.generic) else one for one in ids]
    for one in plain:
        if isinstance(one, bool) or not isinstance(one, int | str):
            raise SubmissionError(
                f"ids must be integers or texts, not {one!r:.40} ({type(one).__name__})",
                "give the ids of the test file, or of the sample, as they stand there",
            )
    return plain


class IdCheck:
    """Follows the ids of the rows as they come.

    Args:
        ids: (n,) the ids wanted, in order: integers or texts.
        column: the id column's name.
        report: where problems go.
    """

    def __init__(self, ids: Sequence[Any] | np.ndarray, column: str, report: Callable[[Problem], None]) -> None:
        self.ids = listed_ids(ids)
        if not self.ids or len(set(self.ids)) != len(self.ids):
            raise SubmissionError(
                f"the {len(self.ids)} ids to validate against must be different ones, and at least one"
            )
        self.column, self.report = column, report
        self._position_of = {one: position for position, one in enumerate(self.ids)}
        self._integers = all(isinstance(one, int) for one in self.ids)
        self._line_of: dict[int, int] = {}
        self._furthest = -1

    def place(self, record: Record, row: int, cell: bytes) -> int | None:
        """Which of the ids a row is of; None, with the reason reported, when it is of none or of one that was there."""
        try:
            text = cell.decode("utf-8")
        except UnicodeDecodeError as error:
            self._tell(record, row, "encoding", f"byte 0x{cell[error.start]:02x} is not UTF-8", cell)
            return None
        key = self._key(text)
        position = self._position_of.get(key)
        if key is None:
            self._tell(record, row, "id", "not an integer" if text.strip() else "no id", cell)
        elif position is None:
            self._tell(record, row, "extra", "no such id is wanted", cell)
        elif position in self._line_of:
            self._tell(record, row, "duplicate", f"the id stood on line {self._line_of[position]} already", cell)
            return None
        else:
            self._follow(record, row, position, cell)
        return position

    def missing(self) -> None:
        """Report every id that did not come."""
        for position, one in enumerate(self.ids):
            if position not in self._line_of:
                self.report(Problem("missing", "no row of this id", id=str(one), column=self.column))

    def _key(self, text: str) -> Any:
        """The id in the type of the ids wanted; None when it is no id."""
        if not self._integers:
            return text or None
        text = text.strip(" \t")
        return int(text) if _INTEGER.fullmatch(text) else None

    def _follow(self, record: Record, row: int, position: int, cell: bytes) -> None:
        self._line_of[position] = record.line
        if position < self._furthest:
            self._tell(record, row, "order", f"out of order: comes after id {self.ids[self._furthest]}", cell)
        self._furthest = max(self._furthest, position)

    def _tell(self, record: Record, row: int, kind: str, message: str, cell: bytes) -> None:
        found = shown(cell)
        self.report(Problem(kind, message, record.line, row, found, self.column, found))
