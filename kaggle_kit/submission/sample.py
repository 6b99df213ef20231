"""The format of any CSV competition, learnt from its sample submission: columns, ids, types and ranges."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kaggle_kit.errors import SubmissionError
from kaggle_kit.files import hash_of
from kaggle_kit.submission.containers import BrokenFile, container_of, require_file
from kaggle_kit.submission.header import ColumnPlaces, read_header
from kaggle_kit.submission.ids import IdCheck
from kaggle_kit.submission.lists import BadList, parse_list
from kaggle_kit.submission.report import Problem, ProblemList, ValidationReport, shown
from kaggle_kit.submission.rows import Record
from kaggle_kit.submission.validator import look_at_rows, make_report, open_records, report_field_count

LONGEST_ROW = 64 << 20
MOST_CHOICES = 50
"""A text column of more different values than that is free text."""
_INTEGER = re.compile(r"\s*[+-]?[0-9]+\s*")


@dataclass(frozen=True)
class Column:
    """What a sample says about one column."""

    name: str
    kind: str
    """``integer``, ``number``, ``list`` (of numbers) or ``text``."""
    low: float | None = None
    high: float | None = None
    choices: frozenset[str] | None = None
    dimension: int | None = None
    may_be_empty: bool = False


@dataclass(frozen=True)
class SampleFormat:
    """What a sample says about submissions."""

    columns: tuple[Column, ...]
    id_place: int
    """Which column holds the ids."""
    ids: tuple[str, ...]


def learn_format(sample: Path) -> SampleFormat:
    """What a valid submission looks like, from a sample file (csv, or zip or gz of it).

    The ids are the first column without repetition, one that is called id before others.

    Raises:
        MissingError: there is no such file.
        SubmissionError: the sample itself is broken, or no column can be the ids.
    """
    sample = Path(sample)
    require_file(sample)
    try:
        with open_records(sample, container_of(sample), LONGEST_ROW) as records:
            names, *rows = [[field.decode("utf-8-sig") for field in record.fields] for record in records] or [[]]
    except (BrokenFile, UnicodeDecodeError) as error:
        raise SubmissionError(f"the sample {sample} cannot be read: {error}") from None
    if not rows or any(len(row) != len(names) for row in rows):
        raise SubmissionError(f"the sample {sample} needs a header and rows of {len(names)} fields")
    cells = list(zip(*rows, strict=True))
    id_place = _id_place(names, cells, sample)
    columns = tuple(_learn(name, values) for name, values in zip(names, cells, strict=True))
    return SampleFormat(columns, id_place, tuple(cells[id_place]))


def validate_against(path: Path, sample: Path | SampleFormat, *, most: int = 20) -> ValidationReport:
    """Look at a submission of any CSV competition.

    Errors: encoding, header, field counts, ids (unknown, twice, out of order, missing), empty cells, and cells that are not of the
    column's type. Warnings: what a sample of placeholders cannot settle: whole numbers, ranges and texts that it does not have.

    Args:
        path: the file: csv, or zip or gz of it.
        sample: the sample file, or what was learnt from it.
        most: problems kept in full, of errors and of warnings each.

    Raises:
        MissingError: one of the files is missing.
        SubmissionError: the sample is broken.
    """
    known = sample if isinstance(sample, SampleFormat) else learn_format(sample)
    path = Path(path)
    require_file(path)
    look = _SampleJudge(known, most)
    container = container_of(path)
    try:
        with open_records(path, container, LONGEST_ROW) as records:
            look_at_rows(records, look.header, look.row)
        look.ids.missing()
    except BrokenFile as broken:
        look.errors.add(Problem(broken.kind, broken.message, found=broken.found))
    rows = {"rows": look.rows, "expected_rows": len(known.ids), "dimension": None}
    return make_report(path, container, look.errors, look.warnings, **rows)


def content_sha256(path: Path, known: SampleFormat) -> str:
    """SHA-256 of what a valid file says, however it is written: rows in the sample's order, numbers as float64, also those in lists,
    other cells as text.

    Args:
        path: a file that :func:`validate_against` found valid.
        known: what was learnt from the sample.
    """
    cells_of: dict[str, list[str]] = {}
    look = _SampleJudge(known, 1)

    def keep(record: Record, places: ColumnPlaces) -> None:
        cells = [record.fields[place].decode("utf-8") for place in places.places]
        cells_of[cells[known.id_place].strip()] = [
            _plain_cell(column, cell) for column, cell in zip(known.columns, cells, strict=True)
        ]

    with open_records(path, container_of(path), LONGEST_ROW) as records:
        look_at_rows(records, look.header, keep)
    return hash_of([cells_of.get(identifier.strip()) for identifier in known.ids])


def _plain_cell(column: Column, cell: str) -> str:
    if column.kind == "list" and cell.strip():
        return json.dumps([_plain_number(float(number)) for number in json.loads(cell)])
    number = _number(cell) if column.kind in ("integer", "number") else None
    return cell if number is None else _plain_number(number)


def _plain_number(number: float) -> str:
    return (number + 0.0).hex()  # -0 is 0


class _SampleJudge:
    def __init__(self, known: SampleFormat, most: int) -> None:
        self.known, self.rows = known, 0
        self.errors, self.warnings = ProblemList(most), ProblemList(most)
        self.ids = IdCheck(known.ids, known.columns[known.id_place].name, self.errors.add)

    def header(self, record: Record) -> ColumnPlaces:
        names = [column.name for column in self.known.columns]
        return read_header(record, names, self.errors.add, is_row=lambda fields: fields[0] in self.known.ids)

    def row(self, record: Record, places: ColumnPlaces) -> None:
        self.rows += 1
        if len(record.fields) != places.width:
            report_field_count(record, self.rows, places.width, self.errors)
            return
        cells = [record.fields[place] for place in places.places]
        self.ids.place(record, self.rows, cells[self.known.id_place])
        for number, (column, cell) in enumerate(zip(self.known.columns, cells, strict=True)):
            if number != self.known.id_place:
                self._cell(record, column, cell, shown(cells[self.known.id_place]))

    def _cell(self, record: Record, column: Column, cell: bytes, row_id: str) -> None:
        def tell(problems: ProblemList) -> Callable[[str, str], None]:
            return lambda kind, message: problems.add(
                Problem(kind, message, record.line, self.rows, row_id, column.name, shown(cell))
            )

        check_cell(column, cell, error=tell(self.errors), warn=tell(self.warnings))


def check_cell(
    column: Column, cell: bytes, *, error: Callable[[str, str], None], warn: Callable[[str, str], None]
) -> None:
    """Hold one cell against its column; ``error`` and ``warn`` are called with (kind, sentence)."""
    try:
        text = cell.decode("utf-8")
    except UnicodeDecodeError:
        error("encoding", "not UTF-8")
        return
    if not text.strip():
        if not column.may_be_empty:
            error("null", "empty")
    elif column.kind == "list":
        result = parse_list(cell, column.dimension)
        if isinstance(result, BadList):
            error(result.kind, result.message)
    elif column.kind == "text":
        if column.choices is not None and text not in column.choices:
            warn("choice", f"the sample only has {', '.join(sorted(column.choices)[:5])}")
    else:
        _check_number(column, text, error, warn)


def _check_number(
    column: Column, text: str, error: Callable[[str, str], None], warn: Callable[[str, str], None]
) -> None:
    value = _number(text)
    if value is None:
        error("number", "not a number")
    elif not math.isfinite(value):
        error("nan" if math.isnan(value) else "infinity", "not finite")
    else:
        if column.kind == "integer" and value != int(value):
            warn("type", "the sample has whole numbers only")
        if column.low is not None and column.high is not None and not column.low <= value <= column.high:
            warn("range", f"outside {column.low:g} to {column.high:g}, which the sample's values suggest")


def _number(text: str) -> float | None:
    """The number that ``text`` is, as CSV readers see it; None for what only Python would read, as ``1_000`` or other scripts' digits."""
    try:
        return float(text) if text.isascii() and "_" not in text else None
    except ValueError:
        return None


def _id_place(names: list[str], cells: list[tuple[str, ...]], sample: Path) -> int:
    unique = [place for place, values in enumerate(cells) if len(set(values)) == len(values) and all(values)]
    if not unique:
        raise SubmissionError(f"the sample {sample} has no column of different values that could be the ids")
    called_id = [place for place in unique if re.search(r"(^|_)id$|Id$|ID$", names[place])]
    return (called_id or unique)[0]


def _learn(name: str, values: tuple[str, ...]) -> Column:
    filled = [value for value in values if value.strip()]
    may_be_empty = len(filled) < len(values)
    vectors = [parse_list(value.encode(), None) for value in filled if value.lstrip().startswith("[")]
    if filled and len(vectors) == len(filled) and all(isinstance(one, np.ndarray) for one in vectors):
        sizes = {one.size for one in vectors}  # type: ignore[union-attr]
        return Column(name, "list", dimension=sizes.pop() if len(sizes) == 1 else None, may_be_empty=may_be_empty)
    numbers = [_number(value) for value in filled]
    if filled and None not in numbers:
        kind = "integer" if all(_INTEGER.fullmatch(value) for value in filled) else "number"
        low, high = _range([number for number in numbers if number is not None])
        return Column(name, kind, low, high, may_be_empty=may_be_empty)
    choices = frozenset(filled)
    few = len(choices) <= MOST_CHOICES and 1 < len(choices) <= len(values) / 2
    return Column(name, "text", choices=choices if few else None, may_be_empty=may_be_empty)


def _range(numbers: list[float]) -> tuple[float | None, float | None]:
    """The range that a sample suggests: none from a constant or without a finite number, 0 to 1 from anything between."""
    finite = [number for number in numbers if math.isfinite(number)]
    if not finite:
        return None, None
    low, high = min(finite), max(finite)
    if low >= 0 and high <= 1 and (low, high) not in ((0, 0), (1, 1)):
        return 0.0, 1.0
    return (None, None) if low == high else (low, high)
