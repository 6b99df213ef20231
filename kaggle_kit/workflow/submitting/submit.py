"""Submit a run, an ensemble or a file: drafted, refused when it was sent before, filed, and sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from kaggle_kit.archive import Record, SubmissionStore
from kaggle_kit.config import Project
from kaggle_kit.errors import DuplicateError
from kaggle_kit.kaggle_service import KaggleService
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.submitting.draft import Draft, draft, file_draft
from kaggle_kit.workflow.submitting.sending import send


def submit(
    project: Project,
    target: str | Path | None = None,
    *,
    message: str,
    wait: bool = True,
    dry_run: bool = False,
    force: bool = False,
    confirm: Callable[[Record], bool] | None = None,
    service: KaggleService | None = None,
    progress: Progress = SILENCE,
) -> Record:
    """Submit a run, an ensemble or a file, once, and file everything about it.

    Args:
        target: id of a run or ensemble (or its unique beginning), or a file; the newest finished run when None.
        message: what is new about it.
        wait: wait for the score, as long as ``submit.wait_s`` says.
        dry_run: everything but the upload.
        force: send vectors that were sent before.
        confirm: asked last of all, given the record; False: nothing is sent. None: it is not asked.
        service: where to; Kaggle, or the server that the settings name, when None.

    Returns:
        The submission's record.

    Raises:
        MissingError: no such run or file.
        SubmissionError: the file is invalid, or the service scored it as an error.
        DuplicateError: the same vectors were sent before, or another submission is under way.
        QuotaError: none left today, or fewer than ``submit.keep``.
        CredentialsError: not logged in, not entered, or the competition takes no more submissions.
        ServiceError: the network or the service failed; the record tells how far it got.
        InterruptedWork: sent, and the score is still awaited.
    """

    def filed(store: SubmissionStore, settled: list[Record]) -> Record:
        drafted = draft(project, target, message, progress=progress)
        arrived = _arrived_twin(settled, drafted)
        if arrived is not None:
            return arrived
        _refuse_duplicate(project, store, drafted, force=force)
        return file_draft(project, store, drafted, dry_run=dry_run, progress=progress)

    return send(
        project, filed, wait=wait, dry_run=dry_run, force=force, confirm=confirm, service=service, progress=progress
    )


def _arrived_twin(settled: list[Record], drafted: Draft) -> Record | None:
    """The interrupted submission of the same vectors that turned out to have arrived, if there is one."""
    same = [one for one in settled if one["ref"] is not None and one["vectors"].get("sha256") == drafted.sha256]
    return same[0] if same else None


def _refuse_duplicate(project: Project, store: SubmissionStore, drafted: Draft, *, force: bool) -> None:
    competition = project.settings.competition
    twin = store.duplicate_of(competition, vectors_sha256=drafted.sha256, vectors=drafted.vectors)
    if twin is not None and not force:
        score = f", public score {twin['public_score']}" if twin["public_score"] is not None else ""
        raise DuplicateError(
            f"these vectors were submitted before: {twin.id} ({twin.state}{score})",
            _what_next(twin),
        )


def _what_next(twin: Record) -> str:
    waits = {
        "sending": "whether it arrived is not known: kk sync looks; --force sends it again",
        "sent": "its score is still awaited: kk sync fetches it; --force sends it again",
    }
    return waits.get(twin.state, "train something new, or insist with --force")
