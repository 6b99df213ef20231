"""The first line of a submission file: which column is which, and what is wrong with the names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kaggle_kit.submission.containers import BrokenFile
from kaggle_kit.submission.report import Problem, shown
from kaggle_kit.submission.rows import BYTE_ORDER_MARK, Record

Report = Callable[[Problem], None]


@dataclass(frozen=True)
class ColumnPlaces:
    """Where the wanted columns stand, and how many fields a row should have."""

    places: tuple[int, ...]
    width: int
    is_header: bool = True
    """False when the first line is a row already."""


def read_header(
    record: Record, wanted: Sequence[str], report: Report, *, is_row: Callable[[list[str]], bool]
) -> ColumnPlaces:
    """Find the columns in the first record, reporting everything that is not exactly as it should be.

    Args:
        record: the first record of the file.
        wanted: the columns' names, in order.
        report: where problems go.
        is_row: tells a row of data from a header with wrong names.

    Raises:
        BrokenFile: the columns cannot be told apart, so that reading on would only repeat that.
    """
    fields = list(record.fields)
    if fields[0].startswith(BYTE_ORDER_MARK):
        report(Problem("encoding", "the file starts with a UTF-8 byte order mark; save it without", record.line))
        fields[0] = fields[0].removeprefix(BYTE_ORDER_MARK)
    names = [field.decode("utf-8", "backslashreplace") for field in fields]
    everywhere = tuple(range(len(wanted)))
    if names == list(wanted):
        return ColumnPlaces(everywhere, len(wanted))
    if is_row(names):
        message = f"no header: the first line should be {','.join(wanted)}"
        report(Problem("header", message, record.line, found=shown(",".join(names))))
        return ColumnPlaces(everywhere, len(wanted), is_header=False)
    return _match(names, wanted, record.line, report)


def _match(names: list[str], wanted: Sequence[str], line: int, report: Report) -> ColumnPlaces:
    found = shown(",".join(names))
    if len(names) == 1 and len(wanted) > 1 and re.search(r"[;\t|]", names[0]):
        raise BrokenFile("header", f"columns must be separated by commas: {','.join(wanted)}", found)
    places = _places(names, wanted)
    for one, place in zip(wanted, places, strict=True):
        if place is None or names[place] != one:
            instead = f"; {names[place]!r} looks like it" if place is not None else ""
            report(Problem("header", f"no column {one!r}{instead}", line, column=one, found=found))
    free = [place for place in range(len(names)) if place not in places]
    if len(free) == places.count(None) == 1:
        places = [free.pop() if place is None else place for place in places]
    if None in places:
        raise BrokenFile("header", "the rows were not looked at, as their columns are not known", found)
    _report_strangers(names, free, line, report)
    if places != sorted(places):  # type: ignore[type-var]
        report(Problem("header", f"columns must stand in the order {','.join(wanted)}", line, found=found))
    return ColumnPlaces(tuple(places), len(names))  # type: ignore[arg-type]


def _places(names: list[str], wanted: Sequence[str]) -> list[int | None]:
    """Where each wanted column stands: by its name, else by the most similar name that is left."""
    places: list[int | None] = [names.index(one) if one in names else None for one in wanted]
    for number, one in enumerate(wanted):
        if places[number] is None:
            left = {name.strip().casefold(): place for place, name in enumerate(names) if place not in places}
            near = difflib.get_close_matches(one.casefold(), left, n=1, cutoff=0.7)
            places[number] = left[near[0]] if near else None
    return places


def _report_strangers(names: list[str], free: list[int], line: int, report: Report) -> None:
    for place in free:
        if names[place] in ("", "Unnamed: 0"):
            message = "a column without a name; pandas writes its index so: to_csv(…, index=False)"
        else:
            message = "a column that should not be there"
        report(Problem("header", message, line, column=shown(names[place]) or None))
