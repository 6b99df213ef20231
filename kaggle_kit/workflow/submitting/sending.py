"""The one way of a submission that was filed: ask whether it may go, send once, wait; every step on disk before it leaves the machine."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from kaggle_kit.archive import Record, SubmissionStore
from kaggle_kit.archive.submissions import may_have_been_sent
from kaggle_kit.config import Project
from kaggle_kit.errors import DuplicateError, InterruptedWork, KaggleKitError, ServiceError, UsageError
from kaggle_kit.kaggle_service import AnswerLost, KaggleService
from kaggle_kit.progress import Progress
from kaggle_kit.workflow.connect import connect
from kaggle_kit.workflow.expect import expectation
from kaggle_kit.workflow.submitting.arrivals import find_out, heal, tag_of, used_before
from kaggle_kit.workflow.submitting.preflight import preflight
from kaggle_kit.workflow.submitting.waiting import await_score

LONGEST_DESCRIPTION = 480
TAG = re.compile(r"kk (?P<id>\d{8}-\d{6}-\S+-(?P<content>[0-9a-f]{6}))$")
"""How :func:`tag_of` ends a description."""

NOT_PLAIN = re.compile(r"[^A-Za-z0-9 .,:;()+=_'-]+")


def send(
    project: Project,
    filed: Callable[[SubmissionStore, list[Record]], Record],
    *,
    wait: bool,
    dry_run: bool,
    force: bool,
    confirm: Callable[[Record], bool] | None,
    service: KaggleService | None,
    progress: Progress,
) -> Record:
    """Send what ``filed`` files, once, under the competition's one lock; all of it but what is sent.

    Args:
        filed: given the archive and the records of interrupted submissions that were settled just now: the record to send, or the one of
            those that turned out to have arrived.
        wait, dry_run, force, confirm, service: as in :func:`kaggle_kit.workflow.submitting.submit.submit`.
    """
    store = SubmissionStore(project.submissions_dir)
    service = connect(project, service, progress=progress)
    competition, settings = project.settings.competition, project.settings.submit
    with store.sending(competition.slug):
        record = filed(store, heal(store, service, competition, settings, progress.note))
        if may_have_been_sent(record):
            progress.note(f"{record.id} had been sent before it was interrupted; it is not sent again")
        else:
            limits = preflight(project, service, progress, force=force, notebook=bool(record["kernel"]))
            if not force:
                _refuse_twin_elsewhere(project, store, service, record)
            if not _is_wanted(project, record, progress, dry_run=dry_run, confirm=confirm):
                return record
            sending = _send_output if record["kernel"] else _send_file
            record = sending(project, store, service, record, used_before(limits))
            progress.note(f"submitted as {record['ref']}: {record['description']}")
    return await_score(project, store, service, record, progress=progress) if wait else record


def _is_wanted(
    project: Project,
    record: Record,
    progress: Progress,
    *,
    dry_run: bool,
    confirm: Callable[[Record], bool] | None,
) -> bool:
    """Whether it is to be sent, once people know what to expect of it."""
    if (expected := expectation(project, record)) is not None:
        progress.note(expected.verdict)
    if dry_run:
        progress.note("dry run: valid, and it could be submitted now; nothing was sent")
        return False
    if confirm is not None and not confirm(record):
        progress.note("nothing was sent")
        return False
    return True


def _refuse_twin_elsewhere(project: Project, store: SubmissionStore, service: KaggleService, record: Record) -> None:
    """Look at the service for the same vectors, sent from another machine or by a notebook whose archive is gone.

    Raises:
        DuplicateError: there is such a submission; its tag ends in the same hash.
    """
    competition = project.settings.competition
    known = {str(one["ref"]) for one in store.every(where=lambda one: one.belongs_to(competition))}
    content = record.id.rpartition("-")[2]
    for remote in service.submissions(competition.slug):
        tagged = TAG.search(" ".join(remote.description.split()))
        if tagged and tagged["content"] == content and str(remote.ref) not in known and remote.status != "ERROR":
            raise DuplicateError(
                f"{service.name} has the same vectors already: submission {remote.ref}, sent as {tagged['id']} from another archive",
                "kk sync brings it and its score into this archive; --force sends them again",
            )


def _describe(project: Project, record: Record) -> str:
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
    except (KeyError, IndexError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(
            f"submit.description cannot be filled in: {error}",
            f"it may use {', '.join('{' + name + '}' for name in values)}",
        ) from None
    plain = " ".join(NOT_PLAIN.sub(" ", text).split())
    tag = tag_of(record.id)
    return f"{plain[: LONGEST_DESCRIPTION - len(tag) - 1].rstrip()} {tag}".strip()


def _notebook_of(record: Record) -> str:
    return f"{record['kernel']['kernel']} version {record['kernel']['version']}" if record["kernel"] else ""


def _send_file(
    project: Project, store: SubmissionStore, service: KaggleService, record: Record, before: Mapping[str, Any]
) -> Record:
    """Upload and submit; each step is in the record before it leaves the machine."""
    slug = project.settings.competition.slug
    description = _describe(project, record)
    upload: dict[str, Any] = {"file_sha256": record["file"]["sha256"], "before": dict(before)}
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
    record = store.advance(
        record.id, "sending", note="uploaded, asking for the submission", changes={"upload": dict(upload)}
    )
    return _send_once(project, store, service, record, lambda: service.create_submission(slug, token, description))


def _send_output(
    project: Project, store: SubmissionStore, service: KaggleService, record: Record, before: Mapping[str, Any]
) -> Record:
    """Ask for the submission of what a version of a notebook wrote."""
    slug, output = project.settings.competition.slug, record["kernel"]
    description = _describe(project, record)
    upload = {"asked": True, "before": dict(before)}
    changes = {"description": description, "upload": upload, "error_description": None}
    record = store.advance(record, "sending", note="asking for the submission", changes=changes)
    return _send_once(
        project,
        store,
        service,
        record,
        lambda: service.create_code_submission(slug, output["kernel"], output["version"], output["file"], description),
    )


def _send_once(
    project: Project, store: SubmissionStore, service: KaggleService, record: Record, create: Callable[[], int]
) -> Record:
    """Ask for the submission, and file its number; the record says already that it is asked for.

    When the answer is lost the service is asked what it has; it is never asked to submit again.

    Raises:
        ServiceError: it did not arrive.
        InterruptedWork: it may have arrived, and the record stays sending.
        KaggleKitError: refused; the record keeps the reason.
    """
    try:
        ref = create()
    except AnswerLost as lost:
        return _after_lost_answer(project, store, service, record, lost)
    except KaggleKitError as error:
        store.advance(record.id, "failed", note=error.message, changes={"error_description": error.message})
        raise
    return store.advance(record.id, "sent", note=f"accepted as {ref}", changes={"ref": ref})


def _after_lost_answer(
    project: Project, store: SubmissionStore, service: KaggleService, record: Record, lost: AnswerLost
) -> Record:
    competition, settings = project.settings.competition, project.settings.submit
    record, doubt = find_out(store, service, competition, settings, record)
    if doubt:
        raise InterruptedWork(
            f"whether the submission arrived is not known: {lost.why}; {doubt}",
            "kk sync looks again; look at the competition's page, too, before kk submit --force sends it again",
        ) from None
    if record["ref"] is None:
        raise ServiceError(
            f"the submission did not arrive: {lost.why}", "it is not in the list of submissions; submit again"
        ) from None
    return record
