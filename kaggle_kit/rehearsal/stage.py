"""A folder in which a competition is played against a rehearsal server: its own project, data, archives and token."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.archive import HistoryTable, Record
from kaggle_kit.competition import Competition
from kaggle_kit.config import Project, Settings, toml_lines
from kaggle_kit.files import write_bytes
from kaggle_kit.kaggle_service import Credentials, KaggleService
from kaggle_kit.progress import Progress
from kaggle_kit.rehearsal.hosted import HostedCompetition, Rival
from kaggle_kit.rehearsal.server import RehearsalServer
from kaggle_kit.settings import Paths
from kaggle_kit.workflow.fetch import fetch
from kaggle_kit.workflow.history import history
from kaggle_kit.workflow.submitting.submit import submit
from kaggle_kit.workflow.train import Run

HOSTED = "hosted"
"""Folder of the files that the server offers, inside the stage; its state lies beside it."""


@dataclass(frozen=True)
class Rehearsal:
    """What a rehearsal came to.

    Attributes:
        folder: the project that it was played in; ``kk leaderboard`` works there.
        runs: what was trained, in order.
        submissions: what was submitted, in order.
        table: the history of everything ever played in that folder.
    """

    folder: Path
    runs: list[Run]
    submissions: list[Record]
    table: HistoryTable

    def to_dict(self) -> dict[str, Any]:
        """Plain data, for ``--json``."""
        return {
            "folder": str(self.folder),
            "runs": [run.record for run in self.runs],
            "submissions": [record.to_dict() for record in self.submissions],
            "history": self.table.rows,
        }


class Stage:
    """One played competition: the project, and the service that leads to the rehearsal server only."""

    def __init__(self, project: Project, service: KaggleService, progress: Progress) -> None:
        self.project, self.service, self.progress = project, service, progress
        self.runs: list[Run] = []
        self.submissions: list[Record] = []

    def fetch(self) -> None:
        """Download the competition's files from the server."""
        fetch(self.project, service=self.service, progress=self.progress)

    def submit(self, run: Run, message: str) -> Record:
        """Submit a run and wait for its score; rehearsed again, the same vectors are scored again."""
        self.runs.append(run)
        record = submit(self.project, run.id, message=message, force=True, service=self.service, progress=self.progress)
        self.submissions.append(record)
        return record

    def curtain(self) -> Rehearsal:
        """What it came to."""
        return Rehearsal(self.project.root, self.runs, self.submissions, history(self.project))


@contextmanager
def stage(
    folder: Path,
    settings: Settings,
    ids: np.ndarray,
    answers: np.ndarray,
    *,
    submissions_a_day: int,
    progress: Progress,
) -> Iterator[Stage]:
    """Open a server for the files below ``folder/hosted`` and a project in ``folder`` that talks to it and to nobody else.

    Args:
        settings: those of the project to be; folders, endpoint and waits are replaced.
        ids: (n,) int64, the test ids.
        answers: (n, d_image) float32, the hidden image of each.
        submissions_a_day: the daily limit.
    """
    competition = settings.competition
    hosted = HostedCompetition(
        slug=competition.slug,
        title=competition.title,
        files=folder / HOSTED / "files",
        ids=np.asarray(ids, dtype=np.int64),
        answers=np.asarray(answers, dtype=np.float32),
        gallery_size=competition.gallery_size,
        format=competition.submission,
        max_daily_submissions=submissions_a_day,
        team="you",
        rivals=(Rival("chance", chance(len(ids), competition.gallery_size)),),
    )
    own = replace(
        settings,
        paths=Paths(),
        service=replace(settings.service, endpoint=None),
        # the server scores at once: no need to wait as for the real one
        submit=replace(settings.submit, poll_first_s=0.2, poll_last_s=1.0, keep=0),
    )
    write_bytes(folder / "kk.toml", project_file(competition).encode())
    with RehearsalServer(hosted, folder=folder / HOSTED / "state") as server:
        progress.note(f"rehearsal server at {server.url}; nothing leaves this machine")
        service = KaggleService(
            own.service, environ=server.environ(), progress=progress, credentials=throwaway(server.token)
        )
        try:
            yield Stage(Project(folder, own), service, progress)
        finally:
            service.close()


def throwaway(token: str) -> Credentials:
    """Credentials for a rehearsal server; the user's own are never looked at."""
    return Credentials.of_token(token, "the rehearsal's throwaway token")


def chance(rows: int, gallery_size: int) -> float:
    """MRR of random vectors: the mean of 1/rank over ranks 1 to the gallery's size."""
    size = min(rows, gallery_size)
    return float((1 / np.arange(1, size + 1)).mean())


def project_file(competition: Competition) -> str:
    """A ``kk.toml`` that describes the competition, so that every command works in the rehearsal's folder."""
    lines = ["# Written by kk: a rehearsal; its records stay out of the real competition's history."]
    return "\n".join(lines + toml_lines("competition", competition, Competition())) + "\n"
