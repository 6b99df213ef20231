"""Scoring a submitted file against hidden answers, as the competition does: MRR by cosine in galleries in the order of the ids."""

from __future__ import annotations

import csv
import gzip
import io
import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import orjson
from numpy.typing import NDArray

from kaggle_kit.rehearsal.hosted import HostedCompetition

LONGEST_FIELD = 1 << 24
"""Characters of one list of numbers."""


@dataclass(frozen=True)
class Score:
    """Mean reciprocal rank over the public galleries, and over the private ones."""

    public: float
    private: float


class Rejected(Exception):
    """The file cannot be scored; the text is what the team is told."""


def score_file(path: Path, competition: HostedCompetition) -> Score:
    """The scores of a submitted file (CSV, or a zip or gz of it).

    Raises:
        Rejected: with the reason, in the manner of the real service.
    """
    return score_vectors(read_submission(path, competition), competition)


def score_vectors(vectors: NDArray[np.float64], competition: HostedCompetition) -> Score:
    """The scores of ``vectors``, (n, d_image), in the order of the competition's ids."""
    if competition.plain:
        return _explained(vectors, competition)
    starts = range(0, len(vectors), competition.gallery_size)
    ranks = [
        reciprocal_ranks(vectors[start:end], competition.answers[start:end])
        for start in starts
        for end in (start + competition.gallery_size,)
    ]
    public = max(1, min(len(ranks), round(competition.public_share * len(ranks))))
    return Score(_mean(ranks[:public]), _mean(ranks[public:] or ranks))


def _explained(values: NDArray[np.float64], competition: HostedCompetition) -> Score:
    """R² of the first share of the rows, and of the others: the part of the answers' variance that the values explain."""
    public = max(2, min(len(values), round(competition.public_share * len(values))))

    def explained(rows: slice) -> float:
        answers = competition.answers[rows].astype(np.float64)
        left = ((answers - values[rows]) ** 2).sum()
        return float(1 - left / max(((answers - answers.mean()) ** 2).sum(), np.finfo(np.float64).tiny))

    return Score(explained(slice(public)), explained(slice(public, None) if public + 1 < len(values) else slice(None)))


def _mean(ranks: list[NDArray[np.float64]]) -> float:
    return float(np.concatenate(ranks).mean())


def reciprocal_ranks(vectors: NDArray[np.float64], gallery: NDArray[np.floating]) -> NDArray[np.float64]:
    """1 / rank of each row's own image among the gallery's, by cosine; a tie counts against. Both (rows, d), result (rows,)."""
    similarity = _unit(vectors.astype(np.float64)) @ _unit(gallery.astype(np.float64)).T  # (rows, rows)
    own = np.diagonal(similarity)[:, None]
    as_good = (similarity >= own).sum(axis=1)  # the right image is one of them
    return 1.0 / as_good


def _unit(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1.0)


def read_submission(path: Path, competition: HostedCompetition) -> NDArray[np.float64]:
    """The submitted vectors in the order of the competition's ids, (n, d_image).

    Raises:
        Rejected: wrong columns, ids, dimensions or numbers.
    """
    csv.field_size_limit(LONGEST_FIELD)
    row_of = {int(identifier): row for row, identifier in enumerate(competition.ids)}
    dimension = competition.answers.shape[1]
    vectors = np.full((len(row_of), dimension), np.nan)
    seen: set[int] = set()
    try:
        with _opened(path) as text:
            for line, cells in _rows(text, competition):
                identifier = _identifier(cells[0], line)
                if identifier not in row_of or identifier in seen:
                    raise Rejected(
                        f"ERROR: {'Duplicate' if identifier in seen else 'Unexpected'} id: {identifier} (Line {line})"
                    )
                seen.add(identifier)
                vectors[row_of[identifier]] = (
                    _value(cells[1], line) if competition.plain else _vector(cells[1], identifier, dimension)
                )
    except (UnicodeDecodeError, csv.Error) as error:
        raise Rejected(f"ERROR: Unable to read the file: {error}") from None
    if len(seen) != len(row_of):
        raise Rejected(f"Evaluation Exception: Submission must have {len(row_of)} rows")
    return vectors


@contextmanager
def _opened(path: Path) -> Iterator[IO[str]]:
    with open(path, "rb") as file:
        head = file.read(4)
        file.seek(0)
        if head.startswith(b"\x1f\x8b"):
            with gzip.open(file, "rt", encoding="utf-8", newline="") as text:
                yield text
        elif head.startswith(b"PK\x03\x04"):
            with zipfile.ZipFile(file) as archive:
                names = archive.namelist()
                if len(names) != 1:
                    raise Rejected(f"ERROR: The zip must hold one file, not {len(names)}")
                with archive.open(names[0]) as member:
                    yield io.TextIOWrapper(member, encoding="utf-8", newline="")
        else:
            yield io.TextIOWrapper(file, encoding="utf-8", newline="")


def _rows(text: IO[str], competition: HostedCompetition) -> Iterator[tuple[int, list[str]]]:
    """The rows after the header, each with its line number, after the header was found right."""
    reader = csv.reader(text)
    columns = [competition.format.id_column, competition.format.embedding_column]
    header = next(reader, [])
    for place, name in enumerate(header, start=1):
        if name not in columns:
            raise Rejected(f"ERROR: Unexpected Column: '{name[:80]}' (Line 1, Column {place})")
    for name in columns:
        if name not in header:
            raise Rejected(f"ERROR: Missing Column: '{name}'")
    order = [header.index(name) for name in columns]
    for line, cells in enumerate(reader, start=2):
        if len(cells) != len(header):
            raise Rejected(f"ERROR: {len(cells)} fields where {len(header)} are expected (Line {line})")
        yield line, [cells[place] for place in order]


def _identifier(cell: str, line: int) -> int:
    try:
        return int(cell)
    except ValueError:
        raise Rejected(f"ERROR: Unable to parse id '{cell[:80]}' (Line {line}, Column 1)") from None


def _value(cell: str, line: int) -> float:
    try:
        value = float(cell)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise Rejected(f"ERROR: Unable to parse number '{cell[:80]}' (Line {line}, Column 2)")
    return value


def _vector(cell: str, identifier: int, dimension: int) -> list[float]:
    try:
        values = orjson.loads(cell)
    except orjson.JSONDecodeError:
        lowered = cell.lower()
        what = (
            "NaN or infinite values" if "nan" in lowered or "inf" in lowered else "something that is no list of numbers"
        )
        raise Rejected(f"Evaluation Exception: Submission contains {what} at id {identifier}") from None
    if not isinstance(values, list) or len(values) != dimension:
        found = len(values) if isinstance(values, list) else "no list"
        raise Rejected(f"Evaluation Exception: embedding of id {identifier} must have {dimension} numbers, not {found}")
    if not all(
        isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) for value in values
    ):
        raise Rejected(f"Evaluation Exception: Submission contains NaN or infinite values at id {identifier}")
    return values
