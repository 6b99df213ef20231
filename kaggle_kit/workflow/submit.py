"""Submit: build, validate, ask whether it may go, send once, wait for the score; every step on disk before it leaves the machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kaggle_kit.archive import Record, SubmissionStore
from kaggle_kit.config import Project
from kaggle_kit.errors import (
    DuplicateError,
    KaggleKitError,
    ServiceError,
    UsageError,
)
from kaggle_kit.kaggle_service import AnswerLost, KaggleService
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.connect import connect
from kaggle_kit.workflow.draft import Draft, draft, file_draft
from kaggle_kit.workflow.expect import expectation
from kaggle_kit.workflow.preflight import preflight
from kaggle_kit.workflow.remote_state import find_arrived, heal, tag_of
from kaggle_kit.workflow.waiting import await_score

LONGEST_DESCRIPTION = 480
NOT_PLAIN = re.compile(r"[^A-Za-z0-9 .,:;()+=_'-]+")


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
    store = SubmissionStore(project.submissions_dir)
    service = connect(project, service, progress=progress)
    competition, settings = project.settings.competition, project.settings.submit
    with store.sending(competition.slug):
        settled = heal(store, service, competition, settings, progress.note)
        drafted = draft(project, target, message, progress=progress)
        arrived = _arrived_twin(settled, drafted)
        if arrived is not None:
            progress.note(f"{arrived.id} had been sent before it was interrupted; it is not sent again")
            record = arrived
        else:
            _refuse_duplicate(project, store, drafted, force=force)
            record = file_draft(project, store, drafted, progress=progress)
            preflight(project, service, progress, force=force)
            if (expected := expectation(project, record)) is not None:
                progress.note(expected.verdict)
            if dry_run:
                progress.note("dry run: valid, and it could be submitted now; nothing was sent")
                return record
            if confirm is not None and not confirm(record):
                progress.note("nothing was sent")
                return record
            record = _send(project, store, service, record)
            progress.note(f"submitted as {record['ref']}: {record['description']}")
    return await_score(project, store, service, record, progress=progress) if wait else record


def _arrived_twin(settled: list[Record], drafted: Draft) -> Record | None:
    """The interrupted submission of the same vectors that turned out to have arrived, if there is one."""
    same = [one for one in settled if one["ref"] is not None and one["vectors"].get("sha256") == drafted.sha256]
    return same[0] if same else None


def _refuse_duplicate(project: Project, store: SubmissionStore, drafted: Draft, *, force: bool) -> None:
    competition = project.settings.competition
    twin = store.duplicate_of(
        competition.slug,
        vectors_sha256=drafted.sha256,
        vectors=drafted.vectors,
        rehearsal=competition.rehearsal,
    )
    if twin is not None and not force:
        score = f", public score {twin['public_score']}" if twin["public_score"] is not None else ""
        raise DuplicateError(
            f"these vectors were submitted before: {twin.id} ({twin.state}{score})",
            "train something new, or insist with --force",
        )


# --- sending


def describe(project: Project, record: Record) -> str:
    """What the service is told: the template filled in, in plain characters, and the tag by which it is found again."""
    values = {
        "message": record["message"],
        "cv": f"{record['cv']:.4f}" if record["cv"] is not None else "none",
        "cv_error": f"{record['cv_error']:.4f}" if record["cv_error"] is not None else "none",
        "run": record.get("run") or record.get("made_from") or _notebook_of(record) or "none",
        "translator": record["translator"] or "none",
        "folds": record["folds"] or "none",
    }
    try:
        text = project.settings.submit.description.format(**values)
    except (KeyError, IndexError, ValueError, AttributeError) as error:
        raise UsageError(
            f"submit.description cannot be filled in: {error}",
            f"it may use {', '.join('{' + name + '}' for name in values)}",
        ) from None
    plain = " ".join(NOT_PLAIN.sub(" ", text).split())
    tag = tag_of(record.id)
    return f"{plain[: LONGEST_DESCRIPTION - len(tag) - 1].rstrip()} {tag}".strip()


def _notebook_of(record: Record) -> str:
    return f"{record['kernel']['kernel']} version {record['kernel']['version']}" if record["kernel"] else ""


def _send(project: Project, store: SubmissionStore, service: KaggleService, record: Record) -> Record:
    """Upload and submit; each step is in the record before it leaves the machine."""
    slug = project.settings.competition.slug
    description = describe(project, record)
    upload: dict[str, Any] = {"file_sha256": record["file"]["sha256"]}
    changes = {"description": description, "upload": upload, "error_description": None}
    record = store.advance(record, "sending", note="uploading", changes=changes)

    def remember(token: str) -> None:
        upload["token"] = token
        store.update(record.id, upload=dict(upload))

    try:
        token = service.upload(store.file_of(record), slug, on_token=remember)
    except KaggleKitError as error:
        store.advance(record.id, "valid", note=f"not uploaded: {error.message}")
        raise
    upload["asked"] = True
    store.advance(record.id, "sending", note="uploaded, asking for the submission", changes={"upload": dict(upload)})
    return send_once(project, store, service, record, lambda: service.create_submission(slug, token, description))


def send_once(
    project: Project, store: SubmissionStore, service: KaggleService, record: Record, create: Callable[[], int]
) -> Record:
    """Ask for the submission, and file its number; the record says already that it is asked for.

    When the answer is lost the service is asked what it has; it is never asked to submit again.

    Raises:
        ServiceError: it did not arrive; or nothing is known, and the record stays sending.
        KaggleKitError: refused; the record keeps the reason.
    """
    try:
        ref = create()
    except AnswerLost as lost:
        arrived = find_arrived(service, project.settings.competition.slug, record.id, project.settings.submit)
        if arrived is None:
            store.advance(record.id, "valid", note=f"never arrived: {lost.message}")
            raise ServiceError(
                f"the submission did not arrive: {lost.message}", "it is not in the list of submissions; submit again"
            ) from None
        ref = arrived.ref
    except KaggleKitError as error:
        store.advance(record.id, "failed", note=error.message, changes={"error_description": error.message})
        raise
    return store.advance(record.id, "sent", note=f"accepted as {ref}", changes={"ref": ref})
