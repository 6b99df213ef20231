"""Look at what the archives hold: training runs, ensembles and submissions."""

from __future__ import annotations

from kaggle_kit.archive import Record, RecordStore, RunStore, SubmissionStore
from kaggle_kit.config import Project
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.train import Run


def list_runs(project: Project, *, top: int | None = None, progress: Progress = SILENCE) -> list[Record]:
    """The records of runs and ensembles, newest first; the first ``top`` of them."""
    return _list(RunStore(project.models_dir), top, progress)


def list_submissions(project: Project, *, top: int | None = None, progress: Progress = SILENCE) -> list[Record]:
    """The records of submissions, rehearsals too, newest first; the first ``top`` of them."""
    return _list(SubmissionStore(project.submissions_dir), top, progress)


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


def _list(store: RecordStore, top: int | None, progress: Progress) -> list[Record]:
    """The store's records; a broken one is mentioned and left out."""
    listing = store.scan()
    for broken in listing.broken:
        progress.note(f"{broken.path} is left out: {broken.message}")
    return listing.records[:top]
