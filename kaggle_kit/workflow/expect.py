"""What public score to expect of a run before it is sent, from what earlier CVs were worth on the leaderboard."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaggle_kit.archive import HistoryTable, Record, RunStore, SubmissionStore, basis_of
from kaggle_kit.cells import escaped
from kaggle_kit.config import Project
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.history import overview

if TYPE_CHECKING:
    from kaggle_kit.analysis.calibration import Calibration, Expectation

COLUMNS = (
    "id",
    "created",
    "translator",
    "cv",
    "cv_error",
    "expected",
    "error",
    "low",
    "high",
    "chance",
    "worth",
    "verdict",
)


@dataclass(frozen=True)
class CalibrationReport:
    """What CVs were worth on the leaderboard, and what that makes of the runs that were not submitted.

    Attributes:
        calibration: the line, its scatter, outliers and warnings.
        candidates: finished runs that were never sent, best expectation first; empty as long as nothing can be expected.
    """

    calibration: Calibration
    candidates: HistoryTable

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {**self.calibration.to_dict(), "candidates": self.candidates.rows}

    def sentences(self) -> list[str]:
        """The calibration in words: the line, the order, outliers, then what to beware of."""
        found = self.calibration
        lines = []
        if found.slope is not None and found.intercept is not None and found.spread is not None:
            assumed = " (slope assumed)" if found.assumed_slope else ""
            lines.append(
                f"public = {found.slope:.3f} x CV {found.intercept:+.4f}{assumed}, scatter {found.spread:.4f}, "
                f"from {len(found.points)} submissions"
            )
        if found.rank_correlation is not None:
            error = (
                f" ± {found.rank_correlation_error:.2f}"
                if found.rank_correlation_error is not None
                else ", of too few to tell its error"
            )
            lines.append(f"rank correlation of CV and public score (Spearman): {found.rank_correlation:.2f}{error}")
        for one in found.outliers:
            lines.append(
                f"outlier: {one.label or one.id}: public {one.public:.4f}, {one.off:+.4f} off the line "
                f"at CV {one.cv:.4f} ({abs(one.scatters):.0f} scatters): {one.cause}"
            )
        return lines + [f"beware: {warning}" for warning in found.warnings]

    def _repr_html_(self) -> str:
        """Sentences and candidates for a notebook, everything from outside escaped."""
        said = "".join(f"<p>{escaped(sentence)}</p>" for sentence in self.sentences())
        return said + (self.candidates._repr_html_() if self.candidates.rows else "")


def calibration(project: Project, *, progress: Progress = SILENCE) -> CalibrationReport:
    """Public score on CV over the history, and what to expect of each finished run that was not submitted; no network."""
    competition = project.settings.competition
    submissions = [
        one for one in overview(SubmissionStore(project.submissions_dir), progress) if one.belongs_to(competition)
    ]
    runs = [one for one in overview(RunStore(project.models_dir), progress) if one.belongs_to(competition)]
    found = calibrated(submissions, runs)
    sent = {one.get("run") for one in submissions if one["ref"] is not None}
    waiting = [one for one in runs if one.state == "done" and one.id not in sent and one.cv is not None]
    rows = _candidates(waiting, submissions, runs)
    rows.sort(key=lambda row: row["expected"], reverse=True)
    return CalibrationReport(found, HistoryTable(COLUMNS, rows))


def calibrated(
    submissions: Iterable[Record], runs: Iterable[Record], *, basis: Mapping[str, Any] | None = None
) -> Calibration:
    """The calibration over scored submissions.

    Args:
        submissions: records, or their listed fields.
        runs: those of the runs, for submissions that do not say on what their CV was measured.
        basis: as :func:`kaggle_kit.archive.basis_of` makes it, of the run in question; None: the usual one.
    """
    from kaggle_kit.analysis.calibration import Basis, calibrate

    known = {run.id: run for run in runs}
    submissions = list(submissions)
    scores = [one["public_score"] for one in submissions if one.state == "scored" and one["public_score"] is not None]
    points = [_point(one, known) for one in submissions if one.state == "scored" and one["cv"] is not None
              and one["public_score"] is not None]  # fmt: skip
    return calibrate(points, basis=None if basis is None else Basis.of(basis), best=max(scores, default=None))


def expectation(project: Project, run: Mapping[str, Any]) -> Expectation | None:
    """What to expect of a drafted submission (its cv, cv_error and basis); None when nothing can be said."""
    if run.get("cv") is None:
        return None
    competition = project.settings.competition
    submissions = [
        one for one in SubmissionStore(project.submissions_dir).overview().records if one.belongs_to(competition)
    ]
    runs = [one for one in RunStore(project.models_dir).overview().records if one.belongs_to(competition)]
    return calibrated(submissions, runs, basis=run.get("basis") or None).expect(run["cv"], run.get("cv_error"))


def _point(submission: Record, runs: Mapping[str, Record]) -> Any:
    from kaggle_kit.analysis.calibration import Basis, Point

    run = runs.get(submission.get("run") or "")
    basis = submission.get("basis") or (basis_of(run) if run is not None else {})
    return Point(
        submission.id,
        submission["cv"],
        submission["public_score"],
        submission["cv_error"],
        submission["message"] or "",
        submission["translator"] or "",
        submission.created,
        Basis.of(basis),
        bool(submission.get("leaks")),
    )


def _candidates(waiting: list[Record], submissions: list[Record], runs: list[Record]) -> list[dict[str, Any]]:
    """A row for each run of which something can be expected; runs on the same basis share one fit."""
    fits: dict[str, Calibration] = {}
    rows = []
    for run in waiting:
        basis = basis_of(run)
        if str(basis) not in fits:
            fits[str(basis)] = calibrated(submissions, runs, basis=basis)
        found = fits[str(basis)]
        expected = None if run.cv is None else found.expect(run.cv, run.cv_error)
        if expected is not None:
            rows.append(_candidate(run, expected))
    return rows


def _candidate(run: Record, expected: Expectation) -> dict[str, Any]:
    return {
        "id": run.id,
        "created": run.created,
        "translator": run["translator"],
        "cv": run.cv,
        "cv_error": run.cv_error,
        "expected": expected.score,
        "error": expected.error,
        "low": expected.low,
        "high": expected.high,
        "chance": expected.chance,
        "worth": expected.worth,
        "verdict": expected.verdict,
    }
