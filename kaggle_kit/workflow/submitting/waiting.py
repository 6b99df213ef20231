"""Wait for a submission's score, and say what it means."""

from __future__ import annotations

from typing import Any

from kaggle_kit.archive import Record, RecordChanged, SubmissionStore, add_standing
from kaggle_kit.config import Project
from kaggle_kit.errors import InterruptedWork, KaggleKitError, ServiceError, SubmissionError
from kaggle_kit.kaggle_service import KaggleService
from kaggle_kit.progress import SILENCE, Progress, Task
from kaggle_kit.workflow.pauses import Pauses
from kaggle_kit.workflow.submitting.arrivals import absorb


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
        KeyboardInterrupt: nobody waits any more; the record stays sent.
    """
    watch = progress.start("waiting for the score", None, "s")
    try:
        record = _looked_for(project, store, service, record, watch, progress)
    except KeyboardInterrupt:
        progress.note(f"submission {record['ref']} stays recorded as sent; kk sync fetches its score")
        raise
    finally:
        watch.finish()
    if record.state == "failed":
        raise SubmissionError(
            f"{service.name} scored submission {record['ref']} as an error: {record['error_description'] or 'no reason given'}",
            "kk validate checks a file; the record keeps the reason",
        )
    if (place := look_up_place(store, service, project.settings.competition.slug)) is not None:
        record = store.update(record.id, rank=place)
    progress.note(verdict(project, store, record))
    return record


def _looked_for(
    project: Project,
    store: SubmissionStore,
    service: KaggleService,
    record: Record,
    watch: Task,
    progress: Progress,
) -> Record:
    """The record with its score or its failure."""
    settings, slug = project.settings.submit, project.settings.competition.slug
    pauses = Pauses(watch, settings.poll_first_s, settings.poll_last_s)
    while record.state == "sent":
        try:
            remote = service.submission(record["ref"], slug)
            record = store.read(record.id)  # a kk sync in another window may have been first
            record = absorb(store, record, remote) if remote is not None else record
        except RecordChanged:
            continue
        except ServiceError as error:
            progress.note(f"cannot look at the score just now: {error.message}")
        if record.state != "sent":
            break
        if pauses.waited_s + pauses.next_s > settings.wait_s:
            raise InterruptedWork(
                f"submission {record['ref']} has no score after {pauses.waited_s:.0f} s",
                "it is recorded as sent; kk sync fetches the score",
            )
        pauses.rest()
    return record


def look_up_place(store: SubmissionStore, service: KaggleService, slug: str) -> dict[str, Any] | None:
    """The team's rank on the public leaderboard, and of how many, remembered; None when the service does not say."""
    try:
        info = service.competition(slug)
    except KaggleKitError:  # a score without a rank is still a score
        return None
    if not info.user_rank:
        return None
    add_standing(store.folder, slug, info.user_rank, info.team_count)
    return {"rank": info.user_rank, "teams": info.team_count}


def verdict(project: Project, store: SubmissionStore, record: Record) -> str:
    """The score beside what was expected, its rank, and what it did to the best so far."""
    score = record["public_score"]
    if score is None:
        return f"submission {record['ref']} is complete; the service shows no score"
    text = f"public score {score:.5f}"
    if record["cv"] is not None:
        text += f" ({score - record['cv']:+.4f} against CV {record['cv']:.4f})"
    if place := record["rank"]:
        text += f", rank {place['rank']}" + (f" of {place['teams']}" if place["teams"] else "")
    others = [
        one["public_score"]
        for one in store.list(where=lambda one: one.belongs_to(project.settings.competition))
        if one.id != record.id and one["public_score"] is not None
    ]
    if not others:
        return text + ", the first score"
    best = max(others)
    return text + (f", the best so far (was {best:.5f})" if score > best else f"; the best is {best:.5f}")
