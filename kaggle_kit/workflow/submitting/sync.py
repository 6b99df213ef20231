"""Bring the archive up to date with the service: scores, interrupted submissions, submissions made elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field

from kaggle_kit.archive import Record, SubmissionStore
from kaggle_kit.archive.ids import timestamp
from kaggle_kit.archive.submissions import ELSEWHERE
from kaggle_kit.config import Project
from kaggle_kit.files import hash_of
from kaggle_kit.kaggle_service import KaggleService, RemoteSubmission
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.connect import connect
from kaggle_kit.workflow.submitting.arrivals import absorb, heal, matching
from kaggle_kit.workflow.submitting.waiting import look_up_place


@dataclass(frozen=True)
class SyncResult:
    """What changed, as ids of submissions.

    Attributes:
        settled: were interrupted while being sent; now it is known what became of them.
        updated: something new was learnt: a number, a score, a reason.
        adopted: made elsewhere, now records of their own.
        awaited: still without a score.
    """

    settled: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    adopted: list[str] = field(default_factory=list)
    awaited: list[str] = field(default_factory=list)


def sync(project: Project, *, service: KaggleService | None = None, progress: Progress = SILENCE) -> SyncResult:
    """Read all submissions at the service and bring the records up to date with them.

    Raises:
        CredentialsError, ServiceError: the service said no, or cannot be reached; records stay as they were.
        DuplicateError: a ``kk submit`` is under way.
    """
    settings, competition = project.settings, project.settings.competition
    service = connect(project, service, progress=progress)
    store = SubmissionStore(project.submissions_dir)
    with store.sending(competition.slug, timeout_s=settings.service.connect_timeout_s):
        settled = heal(store, service, competition, settings.submit, progress.note)
        updated, adopted = [], []
        ours = store.every(where=lambda one: one.belongs_to(competition))
        remotes = service.submissions(competition.slug)
        for remote in remotes:
            records = matching(ours, remote)
            if not records:
                adopted.append(_adopt(store, project, remote).id)
            updated += [one.id for one in records if absorb(store, one, remote) is not one]
        look_up_place(store, service, competition.slug)
    awaited = store.list(where=lambda one: one.belongs_to(competition) and one.state == "sent")
    shown = {str(remote.ref) for remote in remotes}
    for one in awaited:
        if str(one["ref"]) not in shown:
            progress.note(
                f"{service.name} does not list submission {one['ref']} ({one.id}): look at the competition's page"
            )
    return SyncResult([one.id for one in settled], updated, adopted, [one.id for one in awaited])


def _adopt(store: SubmissionStore, project: Project, remote: RemoteSubmission) -> Record:
    """A record for a submission that was made elsewhere, from the web page for instance."""
    competition = project.settings.competition
    record_id = store.reserve(ELSEWHERE, hash_of([competition.slug, remote.ref]))
    record = {
        "competition": competition.slug,
        "rehearsal": competition.rehearsal,
        "state": "sent",
        "message": remote.description,
        "description": remote.description,
        "ref": remote.ref,
        "origin": ELSEWHERE,
        "submitted_by": remote.submitted_by,
        "remote_file": remote.file_name,
    }
    if remote.date is not None:
        record["created"] = timestamp(remote.date)
    return absorb(store, store.create(record_id, record), remote)
