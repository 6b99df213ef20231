"""Look at what the archives hold: training runs, ensembles and submissions."""

from __future__ import annotations

from kaggle_kit.archive import Record, RunStore, SubmissionStore
from kaggle_kit.config import Project
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.history import readable
from kaggle_kit.workflow.train import Run


def list_runs(project: Project, *, top: int | None = None, progress: Progress = SILENCE) -> list[Record]:
    """The records of runs and ensembles, newest first; the first ``top`` of them."""
    return readable(RunStore(project.models_dir).scan(), progress)[:top]


def list_submissions(project: Project, *, top: int | None = None, progress: Progress = SILENCE) -> list[Record]:
    """The records of submissions, rehearsals too, newest first; the first ``top`` of them."""
    return readable(SubmissionStore(project.submissions_dir).scan(), progress)[:top]


def load_run(project: Project, run: str | None = None) -> Run:
    """One run or ensemble: by id, by the unique beginning of one, or the newest.

    Raises:
        MissingError: there is none.
    """
    return Run.of(RunStore(project.models_dir).load(run))


def load_submission(project: Project, submission: str | None = None) -> Record:
    """The record of one submission: by id, by the unique beginning of one, or the newest.

    Raises:
        MissingError: there is none.
    """
    return SubmissionStore(project.submissions_dir).load(submission)
