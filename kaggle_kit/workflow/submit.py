"""Submit: build, validate, ask whether it may go, send once, wait for the score; every step on disk before it leaves the machine."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kaggle_kit.archive import Record, SubmissionStore, provenance
from kaggle_kit.config import Project
from kaggle_kit.errors import (
    CredentialsError,
    DuplicateError,
    InterruptedWork,
    KaggleKitError,
    MissingError,
    QuotaError,
    ServiceError,
    SubmissionError,
    UsageError,
)
from kaggle_kit.kaggle_service import AnswerLost, KaggleService
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.submission import read_vectors, validate_submission, vectors_sha256
from kaggle_kit.workflow.data import image_dimension, read_test
from kaggle_kit.workflow.predict import predict_test
from kaggle_kit.workflow.remote_state import absorb, belongs, find_arrived, heal, tag_of
from kaggle_kit.workflow.validate import last_submission

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
            _preflight(project, service, progress, force=force)
            if dry_run:
                progress.note("dry run: valid, and it could be submitted now; nothing was sent")
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
    }
    digits = project.settings.submit.digits
    unsent = _unsent(project, store, vectors_sha256(prediction.vectors), digits)
    if unsent is not None:
        return store.update(unsent, fields)
    return store.build(
        run["name"] or run["translator"],
        prediction.captions.ids,
        prediction.vectors,
        fields,
        columns=project.settings.competition.submission,
        digits=digits,
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
    unsent = _unsent(project, store, vectors_sha256(vectors), None, file_sha256=report.sha256)
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


def _unsent(
    project: Project, store: SubmissionStore, sha256: str, digits: int | None, *, file_sha256: str | None = None
) -> Record | None:
    """A record of the same vectors and file that was never sent: to be sent now instead of building another."""

    def fits(one: Record) -> bool:
        same_file = one["file"].get("sha256") == file_sha256 if file_sha256 else _digits_of(one) == digits
        unsent = one.state in ("built", "valid") or (one.state == "failed" and one["ref"] is None)
        return belongs(one, project.settings.competition) and unsent and same_file and _kept(store, one, sha256)

    return next(iter(store.list(where=fits)), None)


def _digits_of(record: Record) -> int | None:
    found = re.search(r"\+digits(\d)", record["file"].get("format") or "")
    return int(found[1]) if found else None


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


def _preflight(project: Project, service: KaggleService, progress: Progress, *, force: bool) -> None:
    """Ask whether a submission would be taken, before a byte is sent."""
    slug = project.settings.competition.slug
    info = service.competition(slug)
    page = info.url or f"https://www.kaggle.com/competitions/{slug}"
    if info.entered is False:
        raise CredentialsError(
            f"you have not entered {slug}: its rules are not accepted",
            f"accept them at {page}/rules, then submit again",
        )
    if info.submissions_disabled:
        raise CredentialsError(f"{slug} takes no submissions (they are disabled)", f"see {page}")
    if info.code_only:
        raise CredentialsError(f"{slug} takes submissions from notebooks only", f"see {page}/code")
    if info.deadline is not None and info.deadline < datetime.now(UTC):
        passed = f"the deadline of {slug} was {info.deadline:%Y-%m-%d %H:%M} UTC"
        if not force:
            raise CredentialsError(f"{passed}; nothing was sent", "--force tries a late submission")
        progress.note(f"{passed}: trying a late submission")
    _check_quota(project, service, progress)


def _check_quota(project: Project, service: KaggleService, progress: Progress) -> None:
    limits, keep = service.limits(project.settings.competition.slug), project.settings.submit.keep
    if limits.allowed_now is None:
        return
    hours = max(0.0, (limits.resets - datetime.now(UTC)).total_seconds() / 3600)
    of = f" of {limits.per_day}" if limits.per_day else ""
    progress.note(f"{limits.allowed_now}{of} submissions left today, {keep} to keep; the count resets in {hours:.1f} h")
    if limits.allowed_now == 0:
        raise QuotaError(
            f"no submissions left today ({limits.used_today} used{of}); nothing was sent",
            f"try again in {hours:.1f} h (midnight UTC)",
        )
    if limits.allowed_now <= keep:
        raise QuotaError(
            f"{limits.allowed_now} submissions left today and {keep} to keep; nothing was sent",
            f"lower --keep, or try again in {hours:.1f} h (midnight UTC)",
        )


# --- sending


def describe(project: Project, record: Record) -> str:
    """What the service is told: the template filled in, in plain characters, and the tag by which it is found again."""
    values = {
        "message": record["message"],
        "cv": f"{record['cv']:.4f}" if record["cv"] is not None else "none",
        "cv_error": f"{record['cv_error']:.4f}" if record["cv_error"] is not None else "none",
        "run": record.get("run") or record.get("made_from") or "none",
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
    ref = _created(store, record.id, lambda: service.create_submission(slug, token, description), project, service)
    return store.advance(record.id, "sent", note=f"accepted as {ref}", changes={"ref": ref})


def _created(
    store: SubmissionStore,
    record_id: str,
    create: Callable[[], int],
    project: Project,
    service: KaggleService,
) -> int:
    """The service's number of the submission. When its answer is lost it is asked what it has; never asked to submit again."""
    try:
        return create()
    except AnswerLost as lost:
        arrived = find_arrived(service, project.settings.competition.slug, record_id, project.settings.submit)
        if arrived is not None:
            return arrived.ref
        store.advance(record_id, "valid", note=f"never arrived: {lost.message}")
        raise ServiceError(
            f"the submission did not arrive: {lost.message}", "it is not in the list of submissions; submit again"
        ) from None
    except KaggleKitError as error:
        store.advance(record_id, "failed", note=error.message, changes={"error_description": error.message})
        raise


# --- waiting


def await_score(
    project: Project,
    store: SubmissionStore,
    service: KaggleService,
    record: Record,
    *,
    progress: Progress = SILENCE,
) -> Record:
    """Look for the score, less and less often, until it is there or ``submit.wait_s`` have passed.

    Raises:
        SubmissionError: the service scored it as an error.
        InterruptedWork: no score yet; the record stays sent.
    """
    settings, slug = project.settings.submit, project.settings.competition.slug
    started, pause = time.monotonic(), settings.poll_first_s
    watch = progress.start("waiting for the score", None, "s")
    while record.state == "sent":
        try:
            remote = service.submission(record["ref"], slug)
            record = absorb(store, record, remote) if remote is not None else record
        except ServiceError as error:
            progress.note(f"cannot look at the score just now: {error.message}")
        waited = time.monotonic() - started
        watch.update(waited)
        if record.state != "sent":
            break
        if waited + pause > settings.wait_s:
            watch.finish()
            raise InterruptedWork(
                f"submission {record['ref']} has no score after {waited:.0f} s",
                "it is recorded as sent; kk sync fetches the score",
            )
        time.sleep(pause)
        pause = min(max(pause * 1.5, 0.01), settings.poll_last_s)
    watch.finish()
    if record.state == "failed":
        raise SubmissionError(
            f"{service.name} scored submission {record['ref']} as an error: {record['error_description'] or 'no reason given'}",
            "kk validate checks a file; the record keeps the reason",
        )
    progress.note(_verdict(project, store, record))
    return record


def _verdict(project: Project, store: SubmissionStore, record: Record) -> str:
    """The score beside what was expected and the best so far."""
    score = record["public_score"]
    if score is None:
        return f"submission {record['ref']} is complete; the service shows no score"
    text = f"public score {score:.5f}"
    if record["cv"] is not None:
        text += f" ({score - record['cv']:+.4f} against CV {record['cv']:.4f})"
    others = [
        one["public_score"]
        for one in store.list(where=lambda one: belongs(one, project.settings.competition))
        if one.id != record.id and one["public_score"] is not None
    ]
    if not others:
        return text + ", the first score"
    best = max(others)
    return text + (f", the best so far (was {best:.5f})" if score > best else f"; the best is {best:.5f}")
