"""What is odd about the vectors of a file taken together: equal rows, wild norms, another submission's rows."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kaggle_kit.submission.comparison import Agreement, Earlier, agreements
from kaggle_kit.submission.fingerprint import Fingerprint
from kaggle_kit.submission.report import Problem, ProblemList

WILD_NORM = 10.0
"""A norm this many times the median, or this many times smaller, is worth a warning."""


class VectorCheck:
    """Follows the valid vectors as they come; keeps a norm and a hash of each.

    Args:
        ids: (n,) the ids wanted.
        captions: (n,) their texts: equal texts may have equal vectors.
        earlier: submissions to compare with.
        errors, warnings: where problems go.
    """

    def __init__(
        self,
        ids: Sequence[Any],
        captions: Sequence[str] | np.ndarray | None,
        earlier: Sequence[Earlier],
        errors: ProblemList,
        warnings: ProblemList,
    ) -> None:
        self.ids, self.captions, self.errors, self.warnings = ids, captions, errors, warnings
        self.fingerprint = Fingerprint()
        self._earlier = list(earlier)
        self._agreements: list[Agreement] | None = None
        self._norms: list[float] = []
        self._origins: list[Problem] = []
        self._first_with: dict[bytes, tuple[int | None, int]] = {}

    def observe(self, position: int, vector: np.ndarray, origin: Problem) -> None:
        """Take in the (d,) float32 ``vector`` of the id at ``position``; ``origin`` is a problem of that row, to be filled in."""
        if self._agreements is None:
            self._agreements = agreements(self._earlier, len(self.ids), vector.size)
        for agreement in self._agreements:
            agreement.observe(position, vector)
        self.fingerprint.update(vector)
        self._norms.append(_norm(vector))
        self._origins.append(origin)
        self._look_for_equal(position, vector, origin)

    def _look_for_equal(self, position: int, vector: np.ndarray, origin: Problem) -> None:
        digest = hashlib.blake2b((vector + np.float32(0)).tobytes(), digest_size=16).digest()
        line, first = self._first_with.setdefault(digest, (origin.line, position))
        if first != position and not self._same_caption(first, position):
            message = f"the same vector as id {self.ids[first]} on line {line}"
            self.warnings.add(replace(origin, kind="identical", message=message))

    def _same_caption(self, one: int, other: int) -> bool:
        return self.captions is not None and str(self.captions[one]).strip() == str(self.captions[other]).strip()

    def finish(self) -> None:
        """Report what only all rows together show."""
        if len(self._norms) > 1 and len(self._first_with) == 1:
            self.errors.add(Problem("alike", f"all {len(self._norms)} rows hold the same vector"))
            self.warnings.forget("identical")
        self._look_at_norms()
        for agreement in self._agreements or []:
            for kind, message in agreement.findings():
                self.warnings.add(Problem(kind, message))

    def _look_at_norms(self) -> None:
        median = self.norms[1] if self.norms else 0.0
        for origin, norm in zip(self._origins, self._norms, strict=True):
            if not median / WILD_NORM <= norm <= median * WILD_NORM:
                message = f"norm {norm:.4g} where the median is {median:.4g}"
                self.warnings.add(replace(origin, kind="norm", message=message))

    @property
    def norms(self) -> tuple[float, float, float] | None:
        """Smallest, median and largest norm; None when there was no valid row."""
        return (min(self._norms), float(np.median(self._norms)), max(self._norms)) if self._norms else None


def _norm(vector: np.ndarray) -> float:
    """Euclidean norm of a (d,) float32 vector, in float64: large and small values neither overflow nor vanish."""
    wide = vector.astype(np.float64)
    return float(np.sqrt(wide @ wide))
