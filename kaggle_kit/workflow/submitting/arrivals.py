"""Which of our submissions arrived, and what the service says of them, brought into their records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta

from kaggle_kit.archive import Record, SubmissionStore
from kaggle_kit.archive.ids import timestamp
from kaggle_kit.competition import Competition
from kaggle_kit.errors import KaggleKitError
from kaggle_kit.kaggle_service import KaggleService, Limits, RemoteSubmission, counted_on
from kaggle_kit.settings import SubmitSettings

SHORTEST_CUT = 20
"""Characters of a description that must be left of it to know a submission by them, where the service cut off the tag at its end."""

CLOCKS_APART = timedelta(minutes=10)
"""How far this machine's clock and the service's may be apart."""

SHORTEST_PAUSE_S = 0.05


def tag_of(record_id: str) -> str:
    """What marks a submission in its description, so that it is found again without its number."""
    return f"kk {record_id}"


def carries_tag(description: str, record_id: str) -> bool:
    """Whether a description as the service keeps it is that of the submission."""
    return tag_of(record_id) in " ".join(description.split())


def is_of(record: Record, remote: RemoteSubmission) -> bool:
    """Whether a submission at the service is the record's: by its number; where there is none yet, by its description."""
    if record["ref"] is not None:
        return str(record["ref"]) == str(remote.ref)
    return carries_tag(remote.description, record.id) or _is_cut(record, remote)


def _is_cut(record: Record, remote: RemoteSubmission) -> bool:
    """Whether the service kept only the beginning of the record's description."""
    kept = " ".join(remote.description.split()).rstrip(".… ")
    whole = " ".join(record["description"].split())
    return (
        len(kept) >= SHORTEST_CUT and len(kept) < len(whole) and whole.startswith(kept) and _is_recent(record, remote)
    )


def _is_recent(record: Record, remote: RemoteSubmission) -> bool:
    """Whether it may have been made since the record's was asked for."""
    asked = _asked_at(record)
    return asked is None or remote.date is None or remote.date >= asked - CLOCKS_APART


def _asked_at(record: Record) -> datetime | None:
    """When the service was last asked for the record's submission."""
    times = [entry["at"] for entry in record["history"] if entry["state"] == "sending"]
    return datetime.fromisoformat(times[-1]) if times else None


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
        changes |= {"sent_at": timestamp(remote.date)} if remote.date is not None else {}
    return store.advance(record, state, note=_note(remote), changes=changes)


def _note(remote: RemoteSubmission) -> str:
    if remote.status == "ERROR":
        return remote.error_description or "no reason given"
    if remote.status == "COMPLETE":
        return "no score shown" if remote.public_score is None else f"public score {remote.public_score:g}"
    return "accepted"


def used_before(limits: Limits) -> dict[str, object]:
    """What an upload's facts keep of the submissions that the service had counted before it was asked for another one."""
    return {"day": datetime.now(UTC).date().isoformat(), "count": limits.used_today}


def find_out(
    store: SubmissionStore, service: KaggleService, competition: Competition, settings: SubmitSettings, record: Record
) -> tuple[Record, str]:
    """What became of a submission that was asked for and whose answer is not known.

    Returns:
        The record, and why it may still turn up: in state sending as long as it may, else valid when it never arrived, or as the service
        has it.

    Raises:
        ServiceError, CredentialsError: the service cannot be asked, so nothing is known.
    """
    rivals = store.every(where=lambda one: one.belongs_to(competition) and one.id != record.id)
    claimed = {str(one["ref"]) for one in rivals if one["ref"] is not None}
    rows = _look_for(store, service, competition, settings, record, claimed)
    found = next((row for row in rows if str(row.ref) not in claimed and is_of(record, row)), None)
    if found is not None:
        return absorb(store, record, found), ""
    if record.state != "sending":
        return record, ""
    if doubt := _doubt(service, competition, record, [row for row in rows if str(row.ref) not in claimed], rows):
        return record, doubt
    return store.advance(record, "valid", note=f"{service.name} knows nothing of it"), ""


def _look_for(
    store: SubmissionStore,
    service: KaggleService,
    competition: Competition,
    settings: SubmitSettings,
    record: Record,
    claimed: set[str],
) -> list[RemoteSubmission]:
    """The list of submissions, read until the record's is in it or has had ``submit.appear_s`` to appear."""
    asked = _asked_at(record) if record.state == "sending" else None
    age = (store.clock() - asked).total_seconds() if asked else settings.appear_s
    end = time.monotonic() + min(settings.appear_s, settings.appear_s - age)
    while True:
        rows = service.submissions(competition.slug)
        there = any(str(row.ref) not in claimed and is_of(record, row) for row in rows)
        left = end - time.monotonic()
        if there or left <= 0:
            return rows
        time.sleep(min(left, max(settings.poll_first_s, SHORTEST_PAUSE_S)))


def _doubt(
    service: KaggleService,
    competition: Competition,
    record: Record,
    unclaimed: Iterable[RemoteSubmission],
    rows: Sequence[RemoteSubmission],
) -> str:
    """Why a submission that the list does not show may have arrived all the same; empty when nothing speaks for it."""
    nameless = next((row for row in unclaimed if not row.description and _is_recent(record, row)), None)
    if nameless is not None:
        return f"{service.name} shows submission {nameless.ref} without a description, which may be it"
    before, today = record["upload"].get("before") or {}, datetime.now(UTC).date()
    if before.get("day") != today.isoformat():
        return ""
    try:
        counted = service.limits(competition.slug).used_today
    except KaggleKitError:  # a service that shows its list and does not count speaks for nothing
        return ""
    listed = counted_on(rows, today)
    if counted > before["count"] and counted > listed:
        return f"{service.name} counts {counted} submissions today and lists {listed}"
    return ""


def heal(
    store: SubmissionStore,
    service: KaggleService,
    competition: Competition,
    settings: SubmitSettings,
    tell: Callable[[str], None],
) -> list[Record]:
    """Find out what became of submissions that were asked for and whose answer is not known; the competition's lock must be held.

    One that counted as never arrived is looked for again: it may have turned up since.

    Returns:
        The records that were settled.
    """
    settled = []
    for record in store.list(where=lambda one: one.belongs_to(competition) and _is_open(one)):
        if not record["upload"].get("asked"):
            settled.append(store.advance(record, "valid", note="stopped before the service was asked to submit it"))
            tell(f"{record.id} was stopped before it was submitted: nothing was sent")
            continue
        found, doubt = find_out(store, service, competition, settings, record)
        if doubt:
            tell(f"whether {record.id} arrived is not known: {doubt}")
        elif found is not record:
            settled.append(found)
            arrived = found["ref"] is not None
            tell(
                f"{record.id} did arrive at {service.name} as {found['ref']}"
                if arrived
                else f"{record.id} never arrived at {service.name}"
            )
    return settled


def _is_open(record: Record) -> bool:
    return record.state == "sending" or (
        record.state == "valid" and record["ref"] is None and bool(record["upload"].get("asked"))
    )


def matching(records: Sequence[Record], remote: RemoteSubmission) -> list[Record]:
    """Those of our records that a submission at the service is: one, or its copies where archives were merged."""
    return [one for one in records if is_of(one, remote)]
