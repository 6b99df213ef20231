"""Everything that is wrong with a submission file, found in one pass with a block of it in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.competition import SubmissionFormat
from kaggle_kit.files import sha256_of
from kaggle_kit.submission.comparison import Earlier
from kaggle_kit.submission.containers import BrokenFile, check_encoding, container_of, open_content, require_file
from kaggle_kit.submission.header import ColumnPlaces, read_header
from kaggle_kit.submission.ids import IdCheck
from kaggle_kit.submission.lists import BadList, parse_list
from kaggle_kit.submission.report import Problem, ProblemList, ValidationReport, shown
from kaggle_kit.submission.rows import Record, read_records
from kaggle_kit.submission.vectors import VectorCheck
from kaggle_kit.submission.writer import DEFAULT_COLUMNS

_BYTES_A_NUMBER = 1024
"""Room that a number may take in a row, with all its blanks; longer rows are not read."""


def validate_submission(
    path: Path,
    ids: Sequence[Any] | np.ndarray,
    dimension: int | None,
    fmt: SubmissionFormat = DEFAULT_COLUMNS,
    *,
    most: int = 20,
    captions: Sequence[str] | np.ndarray | None = None,
    earlier: Sequence[Earlier] = (),
) -> ValidationReport:
    """Look at every row of a submission: a CSV, or a zip or gz of one.

    Args:
        path: the file.
        ids: (n,) the ids wanted, in order: integers or texts.
        dimension: numbers in a list; None: as many as the first list has.
        fmt: the columns' names.
        most: problems kept in full, of errors and of warnings each; the others are counted.
        captions: (n,) the texts of the ids; rows of equal texts may have equal vectors without a warning.
        earlier: submissions to compare with.

    Returns:
        the report; whatever is wrong with the content is in there, not raised.

    Raises:
        MissingError: there is no such file.
        UsageError: it is a folder.
        SubmissionError: ``ids`` are none, or not different ones.
    """
    judge = _Judge(Path(path), ids, dimension, fmt, most, captions, earlier)
    judge.run()
    return judge.report()


def read_vectors(
    path: Path, ids: Sequence[Any] | np.ndarray, dimension: int, fmt: SubmissionFormat = DEFAULT_COLUMNS
) -> np.ndarray:
    """The vectors of a valid submission file: (n, d) float32, in the order of ``ids``.

    Raises:
        SubmissionError: the file is not valid.
        MissingError: there is no such file.
    """
    judge = _Judge(Path(path), ids, dimension, fmt, 20, None, ())
    judge.into = np.zeros((len(ids), dimension), dtype=np.float32)
    judge.run()
    judge.report().raise_for_errors()
    return judge.into


@contextmanager
def open_records(path: Path, container: str, longest: int) -> Iterator[Iterator[Record]]:
    """The records of the CSV in ``path``.

    Raises:
        BrokenFile: not a readable CSV in UTF-8, or one without any record.
    """
    with open_content(path, container) as stream:
        check_encoding(stream.read(64))
    with open_content(path, container) as stream:
        yield read_records(stream, longest=longest)


def look_at_rows(
    records: Iterator[Record],
    header: Callable[[Record], ColumnPlaces],
    look: Callable[[Record, ColumnPlaces], None],
) -> None:
    """Pass the first record to ``header`` and all the others to ``look``.

    Raises:
        BrokenFile: there is no record at all.
    """
    first = next(records, None)
    if first is None:
        raise BrokenFile("header", "the file is empty")
    places = header(first)
    if not places.is_header:
        look(first, places)
    for record in records:
        look(record, places)


def report_field_count(record: Record, row: int, width: int, errors: ProblemList) -> None:
    """Report a row with too few or too many fields."""
    count = len(record.fields)
    why = ""
    if count == width + 1 and not record.fields[-1].strip():
        why = "; the row ends with a comma"
    elif count > width and b"[" in record.fields[width - 1]:
        why = "; is the list in quotes?"
    message = f"{count} field{'s' * (count != 1)} instead of {width}{why}"
    errors.add(Problem("fields", message, record.line, row, shown(record.fields[0])))


class _Judge:
    """One look at one file."""

    def __init__(
        self,
        path: Path,
        ids: Sequence[Any] | np.ndarray,
        dimension: int | None,
        fmt: SubmissionFormat,
        most: int,
        captions: Sequence[str] | np.ndarray | None,
        earlier: Sequence[Earlier],
    ) -> None:
        require_file(path)
        self.path, self.dimension, self.fmt = path, dimension, fmt
        self.errors, self.warnings = ProblemList(most), ProblemList(most)
        self.container = container_of(path)
        self.ids = IdCheck(ids, fmt.id_column, self.errors.add)
        self.vectors = VectorCheck(self.ids.ids, captions, earlier, self.errors, self.warnings)
        self.into: np.ndarray | None = None
        self.rows = 0

    def run(self) -> None:
        """Read the file to its end, or to where it cannot be read any further."""
        longest = (1 << 20) + _BYTES_A_NUMBER * (self.dimension or 8192)
        try:
            with open_records(self.path, self.container, longest) as records:
                look_at_rows(records, self._header, self._row)
        except BrokenFile as broken:
            self.errors.add(Problem(broken.kind, broken.message, found=broken.found))
            return
        self.ids.missing()
        self.vectors.finish()

    def _header(self, record: Record) -> ColumnPlaces:
        wanted = (self.fmt.id_column, self.fmt.embedding_column)
        return read_header(record, wanted, self.errors.add, is_row=_is_row)

    def _row(self, record: Record, places: ColumnPlaces) -> None:
        self.rows += 1
        id_place, list_place = places.places
        position = None
        if id_place < len(record.fields):
            position = self.ids.place(record, self.rows, record.fields[id_place])
        if len(record.fields) != places.width:
            report_field_count(record, self.rows, places.width, self.errors)
            return
        result = parse_list(record.fields[list_place], self.dimension)
        row_id = shown(record.fields[id_place])
        if isinstance(result, np.ndarray) and not result.any():
            result = BadList("zero", "all numbers are zero")
        if isinstance(result, BadList):
            column = self.fmt.embedding_column
            self.errors.add(Problem(result.kind, result.message, record.line, self.rows, row_id, column, result.found))
        elif position is not None:
            self._vector(position, result, Problem("", "", record.line, self.rows, row_id, self.fmt.embedding_column))

    def _vector(self, position: int, vector: np.ndarray, origin: Problem) -> None:
        self.dimension = self.dimension or vector.size
        self.vectors.observe(position, vector, origin)
        if self.into is not None:
            self.into[position] = vector

    def report(self) -> ValidationReport:
        """What was found."""
        return make_report(
            self.path,
            self.container,
            self.errors,
            self.warnings,
            rows=self.rows,
            expected_rows=len(self.ids.ids),
            dimension=self.dimension,
            vectors_sha256=None if self.errors.total else self.vectors.fingerprint.hexdigest(),
            norms=self.vectors.norms,
        )


def make_report(
    path: Path, container: str, errors: ProblemList, warnings: ProblemList, **figures: Any
) -> ValidationReport:
    """The report of one look: the file's hash and size, the problems, and ``figures``."""
    return ValidationReport(
        path=path,
        container=container,
        size=path.stat().st_size,
        sha256=sha256_of(path),
        errors=errors.kept,
        error_count=errors.total,
        error_kinds=dict(errors.counts),
        warnings=warnings.kept,
        warning_count=warnings.total,
        warning_kinds=dict(warnings.counts),
        **figures,
    )


def _is_row(names: list[str]) -> bool:
    return len(names) > 1 and names[1].lstrip().startswith("[")
