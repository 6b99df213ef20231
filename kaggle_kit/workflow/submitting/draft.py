"""What is to be submitted: drafted from a run, an ensemble or a file, then filed, read back and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.archive import Record, SubmissionStore, basis_of, provenance
from kaggle_kit.archive.submissions import may_have_been_sent
from kaggle_kit.config import Project
from kaggle_kit.embeddings import TestCaptions
from kaggle_kit.errors import MissingError, SubmissionError
from kaggle_kit.files import sha256_of
from kaggle_kit.progress import Progress
from kaggle_kit.submission import (
    WritingFormat,
    content_sha256,
    learn_format,
    read_vectors,
    validate_against,
    validate_submission,
    vectors_sha256,
)
from kaggle_kit.workflow.data import find_sample, image_dimension, read_test
from kaggle_kit.workflow.digits import measure_digits
from kaggle_kit.workflow.predict import predict_test
from kaggle_kit.workflow.validate import judged

FILE_SUFFIXES = (".csv", ".zip", ".gz")


@dataclass(frozen=True)
class Draft:
    """A submission of which nothing is on disk yet.

    Attributes:
        name: for people; becomes part of the id.
        test: the captions that it answers; None in a competition without embeddings.
        vectors: (n, d) float32, row by row those of ``test.ids``; None in a competition without embeddings.
        fields: what the record will say.
        path: the file to send as it is; None: one is written.
        file: what the record must say of its file: its ``format``, or its ``sha256``.
        sha256: the hash by which equal submissions are recognised.
    """

    name: str
    test: TestCaptions | None
    vectors: np.ndarray | None
    fields: dict[str, Any]
    path: Path | None
    file: dict[str, str]
    sha256: str


def draft(project: Project, target: str | Path | None, message: str, *, progress: Progress) -> Draft:
    """What submitting ``target`` would send.

    Raises:
        MissingError: no such run or file.
        SubmissionError: the file is invalid.
    """
    if target is not None and _is_file(target):
        return _of_file(project, Path(target), message, progress)
    return _of_run(project, None if target is None else str(target), message, progress)


def _is_file(target: str | Path) -> bool:
    return isinstance(target, Path) or Path(target).suffix.lower() in FILE_SUFFIXES


def _of_run(project: Project, target: str | None, message: str, progress: Progress) -> Draft:
    prediction = predict_test(project, target, progress=progress)
    run = prediction.record
    fields = {
        **common_fields(project, message),
        **run_fields(run, prediction.members),
        "test": prediction.captions.file.to_dict(),
    }
    name, file = run["name"] or run["translator"], {"format": _writing(project).id}
    vectors = prediction.vectors
    return Draft(name, prediction.captions, vectors, fields, None, file, vectors_sha256(vectors))


def run_fields(run: Mapping[str, Any], members: list[dict[str, Any]]) -> dict[str, Any]:
    """What a submission's record says of the run or ensemble behind it.

    Args:
        run: its record.
        members: the runs averaged, with their weights.
    """
    cv = run["cv"] or {}
    return {
        "members": members,
        "run": run["id"],
        "translator": run["translator"],
        "folds": run["folds"].get("count"),
        "seeds": run["seeds"],
        "refit": run["refit"],
        "cv": cv.get("mrr"),
        "cv_error": cv.get("error"),
        "basis": basis_of(run),
        "train_seconds": run.get("train_seconds"),
        "leaks": run["leaks"],
    }


def _writing(project: Project) -> WritingFormat:
    settings = project.settings.submit
    return WritingFormat(settings.digits, "zip" if settings.zip else None)


def _of_file(project: Project, path: Path, message: str, progress: Progress) -> Draft:
    if not path.is_file():
        raise MissingError(f"no such file: {path}", "kk predict writes one, kk submit RUN sends a run")
    if project.settings.competition.plain:
        return _of_plain_file(project, path, message)
    test = read_test(project, progress=progress)
    columns, dimension = project.settings.competition.submission, image_dimension(project)
    report = validate_submission(path, test.ids, dimension, columns, captions=test.captions)
    report.raise_for_errors()
    vectors = read_vectors(path, test.ids, report.dimension or 0, columns)
    fields = {**common_fields(project, message), "test": test.file.to_dict(), "made_from": path.name}
    return Draft(path.stem, test, vectors, fields, path, {"sha256": report.sha256}, vectors_sha256(vectors))


def _of_plain_file(project: Project, path: Path, message: str) -> Draft:
    """The file of a competition without embeddings, held against its sample."""
    sample = find_sample(project)
    known = learn_format(sample)
    report = validate_against(path, known)
    report.raise_for_errors()
    sampled = {"name": sample.name, "sha256": sha256_of(sample), "size": sample.stat().st_size}
    fields = {**common_fields(project, message), "test": sampled, "made_from": path.name}
    return Draft(path.stem, None, None, fields, path, {"sha256": report.sha256}, content_sha256(path, known))


def common_fields(project: Project, message: str) -> dict[str, Any]:
    """What a submission's record says whatever is sent."""
    competition = project.settings.competition
    return {
        "competition": competition.slug,
        "rehearsal": competition.rehearsal,
        "message": message,
        "provenance": provenance(project.root),
    }


def file_draft(
    project: Project, store: SubmissionStore, drafted: Draft, *, dry_run: bool = False, progress: Progress
) -> Record:
    """A record in state valid: vectors, file and provenance on disk, the file read back and judged.

    The record of the same vectors and file that was never sent is taken up again instead of making another; ``dry_run`` leaves what it says
    of itself as it is.

    Raises:
        SubmissionError: the file is not valid, or was changed since it was written.
    """
    fields = dict(drafted.fields)
    if drafted.path is None:
        digits = _writing(project).digits
        fields["digits_loss"] = measure_digits(project, fields["members"], digits, progress=progress)
    unsent = _unsent(project, store, drafted)
    kept = unsent if unsent is None or dry_run else store.update(unsent, fields)
    record = _built(project, store, drafted, fields) if kept is None else kept
    return _validated(project, store, record, drafted.test, progress)


def _built(project: Project, store: SubmissionStore, drafted: Draft, fields: dict[str, Any]) -> Record:
    """A new record in state built."""
    if drafted.test is None or drafted.vectors is None:
        assert drafted.path is not None
        return store.keep(drafted.name, drafted.path, fields, content_sha256=drafted.sha256)
    head, columns = (drafted.test.ids, drafted.vectors, fields), project.settings.competition.submission
    if drafted.path is not None:
        return store.build_from_file(drafted.name, drafted.path, *head, columns=columns)
    writing = _writing(project)
    return store.build(drafted.name, *head, columns=columns, digits=writing.digits, compress=writing.compress)


def _unsent(project: Project, store: SubmissionStore, drafted: Draft) -> Record | None:
    def fits(one: Record) -> bool:
        same_vectors = one["vectors"].get("sha256") == drafted.sha256
        same_file = all(one["file"].get(name) == value for name, value in drafted.file.items())
        ours = one.belongs_to(project.settings.competition) and not may_have_been_sent(one)
        return ours and same_vectors and same_file and store.file_of(one).is_file()

    return next(iter(store.list(where=fits)), None)


def _validated(
    project: Project, store: SubmissionStore, record: Record, test: TestCaptions | None, progress: Progress
) -> Record:
    """The record, once its file in the archive was read back and is valid."""
    file, dimension = store.file_of(record), record["vectors"].get("dimension")
    report = judged(project, file, test=test, dimension=dimension, but=record.id)
    if not report.valid:
        store.advance(record, "failed", note=f"{report.error_count} problems in the file")
        report.raise_for_errors()
    for warning in report.warnings:
        progress.note(f"warning: {warning}")
    if report.sha256 != record["file"]["sha256"]:
        raise SubmissionError(f"{file} was changed since it was written", "delete it and submit again")
    return (
        record
        if record.state in ("valid", "failed")
        else store.advance(record, "valid", note=f"{report.rows:,} rows read back")
    )
