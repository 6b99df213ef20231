"""Where one stands: data, last run, last score, submissions left today, and the sensible next command; from the disk alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from kaggle_kit.archive import Record, RecordStore, RunStore, SubmissionStore, day_of, read_limit
from kaggle_kit.archive.prune import training_ended
from kaggle_kit.cells import facts_table
from kaggle_kit.config import PROJECT_FILE, Project
from kaggle_kit.embeddings import find_file
from kaggle_kit.errors import MissingError

UNFINISHED = ("running", "interrupted")
COUNTED = ("sending", "sent", "scored")
"""States of submissions that use up one of today's, or may have; those that end in ERROR do not."""


@dataclass(frozen=True)
class LastRun:
    """The newest run or ensemble."""

    id: str
    state: str
    translator: str
    created: str
    cv: float | None
    cv_error: float | None


@dataclass(frozen=True)
class LastSubmission:
    """The newest submission."""

    id: str
    state: str
    message: str
    created: str
    public_score: float | None


@dataclass(frozen=True)
class Whereabouts:
    """Where a project stands.

    Attributes:
        folder: the project's.
        competition: slug.
        title: its title; empty when unknown.
        missing: required files that are nowhere here.
        runs: finished runs and ensembles.
        last_run: the newest of any state; None without runs.
        best_cv: the out-of-fold MRR of the run that ranks first, in galleries as large as the competition's if any is; None without
            finished runs.
        submissions: how many were made.
        last_submission: the newest; None without any.
        best_public: the best public score; None without scores.
        sent_today: submissions since midnight UTC, as far as this archive knows.
        left_today: what is left of the daily limit; None when the service never told the limit.
        next_command: the sensible next command.
        why: what it is for.
    """

    folder: str
    competition: str
    title: str
    missing: list[str]
    runs: int
    last_run: LastRun | None
    best_cv: float | None
    submissions: int
    last_submission: LastSubmission | None
    best_public: float | None
    sent_today: int
    left_today: int | None
    next_command: str
    why: str

    def _repr_html_(self) -> str:
        """What a person asks for first, for a notebook."""
        run, sent = self.last_run, self.last_submission
        return facts_table(
            {
                "competition": self.title or self.competition,
                "data": "missing: " + ", ".join(self.missing) if self.missing else "all here",
                "last run": f"{run.id}: {run.state}" + ("" if run.cv is None else f", CV {run.cv:.4f}")
                if run
                else "none yet",
                "last submission": f"{sent.id}: {sent.public_score or sent.state}" if sent else "none yet",
                "submissions left today": self.left_today,
                "next": f"{self.next_command}: {self.why}",
            }
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return asdict(self)


def whereabouts(project: Project, *, environ: Mapping[str, str] = os.environ) -> Whereabouts:
    """Where the project stands, from its files and archives; nothing is asked of the service."""
    competition, size = project.settings.competition, project.settings.competition.gallery_size
    runs, sent = _own(RunStore(project.models_dir), project), _own(SubmissionStore(project.submissions_dir), project)
    done = [run for run in runs if run.state == "done"]
    today = datetime.now(UTC).strftime("%Y-%m-%d")
    sent_today = sum(one.state in COUNTED and day_of(one) == today for one in sent)
    limit = read_limit(project.submissions_dir, competition.slug)
    left = None if limit is None else max(0, limit - sent_today)
    missing = [name for name in competition.files.required if not _is_there(name, project, environ)]
    command, why = _next(project, missing, runs, sent, left)
    return Whereabouts(
        folder=str(project.root),
        competition=competition.slug,
        title=competition.title,
        missing=missing,
        runs=len(done),
        last_run=_last_run(runs[0]) if runs else None,
        best_cv=max(done, key=lambda run: run.standing(size)).cv if done else None,
        submissions=len(sent),
        last_submission=_last_submission(sent[0]) if sent else None,
        best_public=max((one["public_score"] for one in sent if one["public_score"] is not None), default=None),
        sent_today=sent_today,
        left_today=left,
        next_command=command,
        why=why,
    )


def _next(
    project: Project, missing: list[str], runs: list[Record], sent: list[Record], left: int | None
) -> tuple[str, str]:
    """The first thing that is in the way of a better score, and what it is for."""
    if missing:
        if not (project.root / PROJECT_FILE).is_file() and not runs:
            return "kk init SLUG", "begins a project here; kk demo plays the whole loop without an account"
        return "kk fetch", f"gets {', '.join(missing)}"
    if sent and sent[0].state in ("sending", "sent"):
        return "kk sync", "fetches the score of the last submission"
    if project.settings.competition.plain:
        return "kk submit FILE", "sends a file that follows the sample submission"
    unfinished = runs[0] if runs and runs[0].state in UNFINISHED and runs[0].get("kind") != "ensemble" else None
    if unfinished is not None and not training_ended(unfinished):
        return f"kk runs show {unfinished.id}", "looks at the run that is being trained"
    if unfinished is not None and not unfinished.get("sweep"):  # kk sweep goes on with its trials itself
        return f"kk train --resume {unfinished.id}", "goes on with the run that was stopped"
    done = [run for run in runs if run.state == "done"]
    if not done:
        return "kk train --preset fast", "trains a first run"
    submitted = {one.get("run") for one in sent if one.state in COUNTED}
    waiting = [run for run in done if run.id not in submitted]
    if waiting and left != 0:
        size = project.settings.competition.gallery_size
        best = max(waiting, key=lambda run: run.standing(size))
        return f'kk submit {best.id} -m "…"', "sends the best run that was not sent yet"
    single = [run for run in done if not run["members"]]
    if len(single) > 1 and not any(run["members"] for run in done):
        return "kk ensemble --from-archive --explain", "averages the runs that fit together"
    return "kk train", "trains another run" + ("; no submissions are left today" if left == 0 else "")


def _own(store: RecordStore, project: Project) -> list[Record]:
    """The records of the project's competition, newest first."""
    competition = project.settings.competition
    return [one for one in store.overview().records if one.belongs_to(competition)]


def _is_there(name: str, project: Project, environ: Mapping[str, str]) -> bool:
    try:
        find_file(name, slug=project.settings.competition.slug, data_dir=project.data_dir, environ=environ)
    except MissingError:
        return False
    return True


def _last_run(run: Record) -> LastRun:
    return LastRun(run.id, run.state, run["translator"] or "ensemble", run.created, run.cv, run.cv_error)


def _last_submission(one: Record) -> LastSubmission:
    return LastSubmission(one.id, one.state, one["message"], one.created, one["public_score"])
