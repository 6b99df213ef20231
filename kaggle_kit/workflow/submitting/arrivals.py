"""Which of our submissions arrived, and what the service says of them, brought into their records."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from kaggle_kit.archive import Record, SubmissionStore
from kaggle_kit.competition import Competition
from kaggle_kit.kaggle_service import KaggleService, RemoteSubmission
from kaggle_kit.settings import SubmitSettings

LOOKS = 3
"""How often the list of submissions is read before a submission counts as never arrived."""


def tag_of(record_id: str) -> str:
    """What marks a submission in its description, so that it is found again without its number."""
    return f"kk {record_id}"


def carries_tag(description: str, record_id: str) -> bool:
    """Whether a description as the service keeps it is that of the submission."""
    return tag_of(record_id) in " ".join(description.split())


def absorb(store: SubmissionStore, record: Record, remote: RemoteSubmission) -> Record:
    """Write what the service says into the record; nothing is written when it says nothing new."""
    changes = {
        "ref": remote.ref or record["ref"],
        "kaggle_status": remote.status,
        "public_score": remote.public_score if remote.public_score is not None else record["public_score"],
        "private_score": remote.private_score if remote.private_score is not None else record["private_score"],
        "error_description": remote.error_description or record["error_description"],
    }
    state = {"COMPLETE": "scored", "ERROR": "failed"}.get(remote.status, "sent")
    if state == "sent" and record.state == "scored":
        state = "scored"  # a score is never taken back by a page that lags behind
    if state == record.state and all(record[name] == value for name, value in changes.items()):
        return record
    if record.state in ("built", "valid"):
        # it was thought never to have arrived, and has turned up
        record = store.advance(record, "valid", note="found at the service")
        record = store.advance(record, "sending", note=f"found at the service as {remote.ref}")
    return store.advance(record, state, note=_note(remote), changes=changes)


def _note(remote: RemoteSubmission) -> str:
    if remote.status == "ERROR":
        return remote.error_description or "no reason given"
    if remote.status == "COMPLETE":
        return "no score shown" if remote.public_score is None else f"public score {remote.public_score:g}"
    return "accepted"


def find_arrived(
    service: KaggleService, slug: str, record_id: str, settings: SubmitSettings
) -> RemoteSubmission | None:
    """The submission at the service by the tag in its description; a fresh one may take some looks to show.

    Raises:
        ServiceError, CredentialsError: the service cannot be asked, so nothing is known.
    """
    for look in range(LOOKS):
        if look:
            time.sleep(settings.poll_first_s)
        for remote in service.submissions(slug):
            if carries_tag(remote.description, record_id):
                return remote
    return None


def heal(
    store: SubmissionStore,
    service: KaggleService,
    competition: Competition,
    settings: SubmitSettings,
    tell: Callable[[str], None],
) -> list[Record]:
    """Find out what became of submissions that were stopped while being sent; the competition's lock must be held.

    Returns:
        The records that were settled.
    """
    stuck = store.list(where=lambda one: one.belongs_to(competition) and one.state == "sending")
    settled = []
    for record in stuck:
        if not record["upload"].get("asked"):
            settled.append(store.advance(record, "valid", note="stopped before the service was asked to submit it"))
            tell(f"{record.id} was stopped before it was submitted: nothing was sent")
            continue
        remote = find_arrived(service, competition.slug, record.id, settings)
        if remote is None:
            settled.append(store.advance(record, "valid", note=f"{service.name} knows nothing of it"))
            tell(f"{record.id} never arrived at {service.name}")
        else:
            settled.append(absorb(store, record, remote))
            tell(f"{record.id} did arrive at {service.name} as {remote.ref}")
    return settled


def match(records: Sequence[Record], remote: RemoteSubmission) -> Record | None:
    """Which of our records a submission at the service is: by its number, else by the tag in its description."""
    by_ref = next((one for one in records if one["ref"] is not None and str(one["ref"]) == str(remote.ref)), None)
    return by_ref or next(
        (one for one in records if one["ref"] is None and carries_tag(remote.description, one.id)), None
    )
