"""Space won back by rule: scores and records stay, files, vectors and checkpoints of old work go, after a plan was shown."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from kaggle_kit.archive.ids import timestamp
from kaggle_kit.archive.records import Record, RecordStore, hold_lock, largest_gallery
from kaggle_kit.archive.runs import RunStore
from kaggle_kit.archive.submissions import SubmissionStore
from kaggle_kit.errors import InterruptedWork, KaggleKitError, UsageError, storage_errors

FILES, VECTORS, CHECKPOINTS, LEFTOVERS = "files", "vectors", "checkpoints", "leftovers"
WHAT = (FILES, VECTORS, CHECKPOINTS, LEFTOVERS)
PREDICTIONS, STATES = "predictions", "states"
"""What else a run holds; removed by ``plan_prune_runs`` only."""
_OF_RUNS, _UNRECORDED = (CHECKPOINTS, PREDICTIONS, STATES), (LEFTOVERS, STATES)
_LEFTOVER_HOURS = 24.0
"""A temporary file, or a folder without a record, this old belongs to no process that still writes it."""


@dataclass(frozen=True)
class PruneRule:
    """What may go."""

    what: tuple[str, ...] = (FILES, LEFTOVERS)
    """Of ``files`` (can be written again from the vectors), ``vectors``, ``checkpoints`` and ``leftovers`` of killed processes."""
    keep_newest: int = 10
    """Newest records of each archive left alone."""
    keep_best: int = 5
    """Best submissions by public score, and best runs by CV, left alone."""
    older_than_days: float = 0.0
    """Only records at least that old."""

    def __post_init__(self) -> None:
        wrong = [one for one in self.what if one not in WHAT]
        if wrong or self.keep_newest < 0 or self.keep_best < 0 or self.older_than_days < 0:
            raise UsageError(f"cannot prune by {self}", f"what to prune: {', '.join(WHAT)}")


@dataclass(frozen=True)
class PruneItem:
    """One file that would go."""

    path: Path
    size: int
    """Bytes."""
    what: str
    record_id: str
    why: str


@dataclass(frozen=True)
class PrunePlan:
    """What would go, what was left alone although it is old, and the rule in words."""

    rule: str = ""
    items: list[PruneItem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes won back."""
        return sum(item.size for item in self.items)


def plan_prune(submissions: SubmissionStore, runs: RunStore, rule: PruneRule) -> PrunePlan:
    """What ``rule`` would remove; nothing is touched.

    Submissions on their way are left alone, and so are files that could not be written again while their vectors are to go too, runs
    that are not finished and the checkpoints of runs that a kept submission, or a kept ensemble, is made of.
    """
    plan = PrunePlan(words_of(rule))
    kept = kept_ids(submissions.list(), rule, lambda record: record["public_score"])
    for record in old_records(submissions, kept, rule):
        plan.items.extend(_submission_items(submissions, record, rule, plan.notes))
    if CHECKPOINTS in rule.what:
        plan.items.extend(_checkpoint_items(submissions, runs, kept, rule))
    if LEFTOVERS in rule.what:
        plan.items.extend(item for store in (submissions, runs) for item in _leftovers(store))
    return plan


def prune(plan: PrunePlan, submissions: SubmissionStore, runs: RunStore) -> int:
    """Remove what ``plan`` lists and note it in the records; returns the bytes won back.

    The note is written first: a record never claims to have what is gone. A run that is being trained by now is left alone.
    """
    won = 0
    for item in plan.items:
        store: RecordStore = runs if item.what in _OF_RUNS else submissions
        with ExitStack() as held:
            if item.what in _OF_RUNS and not _hold_training(held, runs.folder_of(item.record_id)):
                continue
            if item.what not in _UNRECORDED:
                record = store.read(item.record_id)
                name = item.path.relative_to(record.folder).as_posix()
                note = {"what": item.what, "file": name, "at": timestamp(store.clock())}
                store.update(record, pruned=[*(record.get("pruned") or []), note])
            with suppress(FileNotFoundError), storage_errors(item.path, "removing"):
                item.path.unlink()
                won += item.size
            if item.what == LEFTOVERS:
                with suppress(OSError):  # a folder that is not empty stays
                    item.path.parent.rmdir()
    return won


def training_ended(run: Record) -> bool:
    """Whether no process trains the run now; the system gives the lock back of one that was killed."""
    with ExitStack() as held:
        return not (run.folder / "training.lock").exists() or _hold_training(held, run.folder)


def _hold_training(held: ExitStack, folder: Path) -> bool:
    try:
        held.enter_context(hold_lock(folder / "training.lock", 0.0, folder.name))
    except InterruptedWork:
        return False
    return True


class Keeps(Protocol):
    """What a rule says of how many records are left alone, and how old the others must be."""

    @property
    def keep_newest(self) -> int:
        """Newest records left alone."""

    @property
    def keep_best(self) -> int:
        """Best records left alone."""

    @property
    def older_than_days(self) -> float:
        """Only records at least that old."""


def words_of(rule: Keeps) -> str:
    """What stays by a rule."""
    old = f", and what is less than {rule.older_than_days:g} days old" if rule.older_than_days else ""
    return f"the newest {rule.keep_newest}, the best {rule.keep_best}{old} and what they are made of stay"


def kept_ids(records: list[Record], rule: Keeps, score: Callable[[Record], Any]) -> set[str]:
    """Ids of the newest and the best of ``records``, which come newest first."""
    scored = [record for record in records if score(record) is not None]
    best = sorted(scored, key=score, reverse=True)[: rule.keep_best]
    return {record.id for record in [*records[: rule.keep_newest], *best]}


def by_cv_of(runs: Iterable[Record]) -> Callable[[Record], Any]:
    """What runs are ranked by, None for one without a CV; those of smaller galleries come behind."""
    size = largest_gallery(runs)
    return lambda run: None if run.cv is None else run.standing(size)


def old_records(store: RecordStore, kept_ids: set[str], rule: Keeps) -> Iterator[Record]:
    """The records that are not kept, and old enough."""
    limit = store.clock() - timedelta(days=rule.older_than_days)
    for record in store.list():
        if record.id not in kept_ids and datetime.fromisoformat(record.created) <= limit:
            yield record


def _submission_items(
    submissions: SubmissionStore, record: Record, rule: PruneRule, notes: list[str]
) -> Iterator[PruneItem]:
    from kaggle_kit.archive.sent import IDS_NAME, VECTORS_NAME
    from kaggle_kit.submission import WritingFormat

    if record.state not in ("scored", "failed"):
        notes.append(f"{record.id} is {record.state}: left alone")
        return
    if FILES in rule.what and record["file"].get("name"):
        path = submissions.file_of(record)
        if not path.exists():
            pass
        elif WritingFormat.from_id(record["file"].get("format") or "") and (record.folder / VECTORS_NAME).exists():
            yield from items_of(
                [path], FILES, record, "can be written again from the vectors" * (VECTORS not in rule.what)
            )
        else:
            notes.append(f"{record.id}: {path.name} could not be written again: left alone")
    if VECTORS in rule.what:
        yield from items_of([record.folder / VECTORS_NAME, record.folder / IDS_NAME], VECTORS, record, "old")


def _checkpoint_items(
    submissions: SubmissionStore, runs: RunStore, kept_submissions: set[str], rule: PruneRule
) -> Iterator[PruneItem]:
    kept_runs = kept_ids(runs.list(), rule, by_cv_of(runs.list()))
    needed = {
        member.get("run")
        for record in submissions.list()
        if record.id in kept_submissions
        for member in record["members"]
    }
    needed |= {member.get("run") for run in runs.list() if run.id in kept_runs | needed for member in run["members"]}
    for run in old_records(runs, kept_runs | needed, rule):
        if run.state in ("done", "failed"):
            with suppress(KaggleKitError):  # a broken list of checkpoints: nothing of that run is touched
                yield from items_of(
                    [path for path, _ in runs.checkpoints(run)], CHECKPOINTS, run, "no kept submission uses it"
                )


def items_of(paths: Iterable[Path], what: str, record: Record, why: str) -> Iterator[PruneItem]:
    """An item for each of the files that is there."""
    for path in paths:
        with suppress(FileNotFoundError):
            yield PruneItem(path, path.stat().st_size, what, record.id, why or "old")


def _leftovers(store: RecordStore) -> Iterator[PruneItem]:
    """What processes left that were killed while they wrote: temporary files, and files of a submission that got no record."""
    limit = time.time() - _LEFTOVER_HOURS * 3600
    paths = list(store.folder.glob("*/.*.tmp"))
    if isinstance(store, SubmissionStore):
        paths += [path for folder in store.folder.glob("*/") for path in _without_record(folder, store.file_name)]
    for path in dict.fromkeys(paths):
        with suppress(FileNotFoundError):
            status = path.stat()
            if status.st_mtime < limit:
                yield PruneItem(path, status.st_size, LEFTOVERS, path.parent.name, "left by a process that was killed")


def _without_record(folder: Path, record_name: str) -> list[Path]:
    """The files that we write in ``folder`` when it has no record; what someone else put there is not ours to remove."""
    if (folder / record_name).exists():
        return []
    return [path for pattern in ("*.npy", "submission.csv*", ".lock") for path in folder.glob(pattern)]
