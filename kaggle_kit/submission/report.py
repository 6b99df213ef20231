"""What a look at a submission file found: problems with row and column, the first ones in full and the rest counted."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from kaggle_kit.errors import SubmissionError

LONGEST_FOUND = 60
"""Characters of the file's own text that a problem quotes at most."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, or odd, with a submission file."""

    kind: str
    """Short stable name: encoding, container, header, fields, id, duplicate, extra, order, missing, list, number, dimension, nan, …"""
    message: str
    """What it is, in words, with the numbers."""
    line: int | None = None
    """Line of the file, the header being line 1; None when the problem is of no line."""
    row: int | None = None
    """Row of data, the first one below the header being 1; None when the problem is of no row."""
    id: str | None = None
    """The row's id as it stands in the file, or the id that is missing."""
    column: str | None = None
    """Name of the column, None when the whole row or file is concerned."""
    found: str | None = None
    """What stands there, shortened and with control characters escaped."""

    def __str__(self) -> str:
        where = [
            f"line {self.line}" if self.line else "",
            f"id {self.id}" if self.id is not None else "",
            self.column or "",
        ]
        place = ", ".join(part for part in where if part)
        found = f": {self.found}" if self.found is not None and self.found != self.id else ""
        return (f"{place}: " if place else "") + self.message + found


def shown(text: bytes | str) -> str:
    """``text`` from the file, short and harmless enough to be printed."""
    if isinstance(text, bytes):
        text = text[: LONGEST_FOUND * 4].decode("utf-8", "backslashreplace")
    escaped = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text[: LONGEST_FOUND + 1])
    return escaped if len(escaped) <= LONGEST_FOUND else escaped[: LONGEST_FOUND - 1] + "…"


@dataclass
class ProblemList:
    """Keeps the first ``most`` problems and counts them all, by kind."""

    most: int
    kept: list[Problem] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, problem: Problem) -> None:
        """Count ``problem``; keep it while there is room, and the first of each kind even when there is none."""
        self.counts[problem.kind] += 1
        if len(self.kept) < self.most:
            self.kept.append(problem)
        elif self.counts[problem.kind] == 1:
            self._make_room()
            self.kept.append(problem)

    def _make_room(self) -> None:
        """Drop the last problem of the kind that is shown most often."""
        kinds = Counter(problem.kind for problem in self.kept)
        if self.kept and kinds.most_common(1)[0][1] > 1:
            commonest = kinds.most_common(1)[0][0]
            last = max(i for i, problem in enumerate(self.kept) if problem.kind == commonest)
            del self.kept[last]

    def forget(self, kind: str) -> None:
        """Drop everything of ``kind``: something else says it better."""
        self.kept = [problem for problem in self.kept if problem.kind != kind]
        del self.counts[kind]

    @property
    def total(self) -> int:
        """Problems found in all."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class ValidationReport:
    """The verdict on one submission file."""

    path: Path
    container: str
    """``csv``, ``zip`` or ``gz``."""
    size: int
    """Bytes of the file."""
    sha256: str
    errors: list[Problem]
    error_count: int
    error_kinds: dict[str, int]
    warnings: list[Problem]
    warning_count: int
    warning_kinds: dict[str, int]
    rows: int
    """Rows of data that were seen, right or wrong."""
    expected_rows: int
    dimension: int | None
    vectors_sha256: str | None = None
    """Hash of the float32 vectors in id order; None unless every row is valid."""
    norms: tuple[float, float, float] | None = None
    """Smallest, median and largest Euclidean norm of the valid rows."""

    @property
    def valid(self) -> bool:
        """Whether the service can be expected to score the file."""
        return self.error_count == 0

    def raise_for_errors(self, *, strict: bool = False, told: bool = False) -> None:
        """Do nothing for a valid file.

        Args:
            strict: whether warnings count as errors.
            told: whether the problems have been shown already: the message then counts them only.

        Raises:
            SubmissionError: the file has errors; the message names the first of them.
        """
        bad = self.errors + (self.warnings if strict else [])
        count = self.error_count + (self.warning_count if strict else 0)
        if count:
            lines = [f"{self.path.name} is not a valid submission: {count} problem{'s' if count > 1 else ''}"]
            if not told:
                lines += [f"  {problem}" for problem in bad[:5]]
                lines += [f"  … and {count - 5} more"] if count > 5 else []
            hint = "mend the file, and check it again" if told else f"kk validate {self.path} lists them all"
            raise SubmissionError("\n".join(lines), hint)

    def to_dict(self) -> dict[str, Any]:
        """The report as plain data, for ``--json``."""
        return {**asdict(self), "path": str(self.path), "valid": self.valid}
