"""Submit: build, validate, ask whether it may go, send once, wait for the score; every step on disk before it leaves the machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kaggle_kit.archive import Record, SubmissionStore, provenance
from kaggle_kit.config import Project
from kaggle_kit.errors import (
    DuplicateError,
    KaggleKitError,
    MissingError,
    ServiceError,
    SubmissionError,
    UsageError,
)
from kaggle_kit.kaggle_service import AnswerLost, KaggleService
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.submission import WritingFormat, read_vectors, validate_submission, vectors_sha256
from kaggle_kit.workflow.data import image_dimension, read_test
from kaggle_kit.workflow.digits import measure_digits
from kaggle_kit.workflow.predict import predict_test
from kaggle_kit.workflow.preflight import preflight
from kaggle_kit.workflow.remote_state import belongs, find_arrived, heal, tag_of
from kaggle_kit.workflow.validate import last_submission
from kaggle_kit.workflow.waiting import await_score

FILE_SUFFIXES = (".csv", ".zip", ".gz")
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
    service = service or KaggleService(project.settings.service, progress=progress)
    competition, settings = project.settings.competition, project.settings.submit
    with store.sending(competition.slug):
        settled = heal(store, service, competition, settings, progress.note)
        record = _prepare(project, store, target, message, progress)
        arrived = _arrived_twin(settled, record)
        if arrived is not None:
            progress.note(f"{arrived.id} had been sent before it was interrupted; it is not sent again")
            record = arrived
        else:
            _refuse_duplicate(project, store, record, force=force)
            preflight(project, service, progress, force=force)
            if dry_run:
                progress.note("dry run: valid, and it could be submitted now; nothing was sent")
                return record
            if confirm is not None and not confirm(record):
                progress.note("nothing was sent")
                return record
            record = _send(project, store, service, record)
            progress.note(f"submitted as {record['ref']}: {record['description']}")
    return await_score(project, store, service, record, progress=progress) if wait else record


def _arrived_twin(settled: list[Record], record: Record) -> Record | None:
    """The interrupted submission of the same vectors that turned out to have arrived, if there is one."""
    same = [one for one in settled if one["ref"] is not None and one["vectors"] == record["vectors"]]
    return same[0] if same else None


# --- building


def _prepare(
    project: Project, store: SubmissionStore, target: str | Path | None, message: str, progress: Progress
) -> Record:
    """A record in state valid: vectors, file and provenance on disk, the file read back and judged."""
    if target is not None and _is_file(target):
        record = _from_file(project, store, Path(target), message, progress)
    else:
        record = _from_run(project, store, None if target is None else str(target), message, progress)
    return _validated(project, store, record, progress)


def _is_file(target: str | Path) -> bool:
    return isinstance(target, Path) or Path(target).suffix.lower() in FILE_SUFFIXES


def _from_run(project: Project, store: SubmissionStore, target: str | None, message: str, progress: Progress) -> Record:
    prediction = predict_test(project, target, progress=progress)
    run = prediction.record
    cv = run["cv"] or {}
    writing = WritingFormat(project.settings.submit.digits, "zip" if project.settings.submit.zip else None)
    fields = {
        **_common(project, message),
        "members": prediction.members,
        "run": run.id,
        "translator": run["translator"],
        "folds": run["folds"].get("count"),
        "seeds": run["seeds"],
        "cv": cv.get("mrr"),
        "cv_error": cv.get("error"),
        "test": prediction.captions.file.to_dict(),
        "digits_loss": measure_digits(project, prediction.members, writing.digits, progress=progress),
    }
    unsent = _unsent(project, store, vectors_sha256(prediction.vectors), file_format=writing.id)
    if unsent is not None:
        return store.update(unsent, fields)
    return store.build(
        run["name"] or run["translator"],
        prediction.captions.ids,
        prediction.vectors,
        fields,
        columns=project.settings.competition.submission,
        digits=writing.digits,
        compress=writing.compress,
    )


def _from_file(project: Project, store: SubmissionStore, path: Path, message: str, progress: Progress) -> Record:
    if not path.is_file():
        raise MissingError(f"no such file: {path}", "kk predict writes one, kk submit RUN sends a run")
    test = read_test(project, progress=progress)
    columns, dimension = project.settings.competition.submission, image_dimension(project)
    report = validate_submission(path, test.ids, dimension, columns, captions=test.captions)
    report.raise_for_errors()
    vectors = read_vectors(path, test.ids, report.dimension or 0, columns)
    fields = {**_common(project, message), "test": test.file.to_dict(), "made_from": path.name}
    unsent = _unsent(project, store, vectors_sha256(vectors), file_sha256=report.sha256)
    if unsent is not None:
        return store.update(unsent, fields)
    return store.build_from_file(path.stem, path, test.ids, vectors, fields, columns=columns)


def _common(project: Project, message: str) -> dict[str, Any]:
    competition = project.settings.competition
    return {
        "competition": competition.slug,
        "rehearsal": competition.rehearsal,
        "message": message,
        "provenance": provenance(project.root),
    }


def _unsent(project: Project, store: SubmissionStore, sha256: str, **file: str) -> Record | None:
    """A record of the same vectors and ``file_format`` or ``file_sha256`` that was never sent: to be sent now instead of another."""

    def fits(one: Record) -> bool:
        same_file = all(one["file"].get(name.removeprefix("file_")) == value for name, value in file.items())
        return belongs(one, project.settings.competition) and is_unsent(one) and same_file and _kept(store, one, sha256)

    return next(iter(store.list(where=fits)), None)


def is_unsent(record: Record) -> bool:
    """Whether a submission never reached the service, and can be sent as it is."""
    return record.state in ("built", "valid") or (record.state == "failed" and record["ref"] is None)


def _kept(store: SubmissionStore, record: Record, sha256: str) -> bool:
    return record["vectors"].get("sha256") == sha256 and store.file_of(record).is_file()


def _validated(project: Project, store: SubmissionStore, record: Record, progress: Progress) -> Record:
    test = read_test(project)
    report = validate_submission(
        store.file_of(record),
        test.ids,
        image_dimension(project) or record["vectors"]["dimension"],
        project.settings.competition.submission,
        captions=test.captions,
        earlier=last_submission(project, but=record.id),
    )
    if not report.valid:
        store.advance(record, "failed", note=f"{report.error_count} problems in the file")
        report.raise_for_errors()
    for warning in report.warnings:
        progress.note(f"warning: {warning}")
    if report.sha256 != record["file"]["sha256"]:
        raise SubmissionError(f"{store.file_of(record)} was changed since it was written", "delete it and submit again")
    return record if record.state in ("valid", "failed") else store.advance(record, "valid", note=_judged(report.rows))


def _judged(rows: int) -> str:
    return f"{rows:,} rows read back"


# --- may it go?


def _refuse_duplicate(project: Project, store: SubmissionStore, record: Record, *, force: bool) -> None:
    competition = project.settings.competition
    twin = store.duplicate_of(
        competition.slug,
        vectors_sha256=record["vectors"]["sha256"],
        vectors=store.vectors(record)[1],
        rehearsal=competition.rehearsal,
        but=record.id,
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
