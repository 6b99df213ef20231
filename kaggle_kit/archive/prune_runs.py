"""Space won back from training runs: weights and predictions of old ones, what stopped ones would have gone on from."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.archive.prune import (
    CHECKPOINTS,
    LEFTOVERS,
    PREDICTIONS,
    STATES,
    PruneItem,
    PrunePlan,
    by_cv_of,
    items_of,
    kept_ids,
    old_records,
    training_ended,
    words_of,
)
from kaggle_kit.archive.records import Record
from kaggle_kit.archive.runs import RunStore
from kaggle_kit.archive.submissions import SubmissionStore
from kaggle_kit.errors import DataError, UsageError

ENDED = ("done", "pruned", "failed")
_ABANDONED_HOURS = 24.0
"""A run that was not written to for this long, and that no process is training, will hardly be gone on with."""


@dataclass(frozen=True)
class RunPruneRule:
    """Which runs may lose their files."""

    keep_newest: int = 10
    """Newest finished runs left alone."""
    keep_best: int = 5
    """Best runs by CV left alone."""
    older_than_days: float = 0.0
    """Only runs at least that old."""
    states_only: bool = False
    """Only training states and temporary files go; every run keeps its weights and predictions."""

    def __post_init__(self) -> None:
        if self.keep_newest < 0 or self.keep_best < 0 or self.older_than_days < 0:
            raise UsageError(f"cannot prune by {self}", "counts and days are 0 or more")


def plan_prune_runs(
    submissions: SubmissionStore, runs: RunStore, rule: RunPruneRule, *, needed: Iterable[str] = ()
) -> PrunePlan:
    """What ``rule`` would remove from the runs; nothing is touched.

    A run that another process trains is left alone, and so are the weights and predictions of every run that a submission or an ensemble
    is made of, and of those in ``needed``: ids, or the beginnings of ids.
    """
    plan = PrunePlan(words_of(rule))
    records = [run for run in runs.list() if run["kind"] == "run"]
    finished = [run for run in records if run.state == "done"]
    kept = kept_ids(finished, rule, by_cv_of(finished)) | _referred_to(submissions, runs)
    kept |= {run.id for run in records for name in needed if run.id.startswith(name)}
    for run in old_records(runs, set(), rule):
        if run["kind"] != "run":
            continue
        if not training_ended(run):
            plan.notes.append(f"{run.id} is being trained: left alone")
            continue
        plan.items.extend(_states(run))
        plan.items.extend(_temporary(run))
        if not rule.states_only and run.id not in kept and run.state in ENDED:
            plan.items.extend(_results(runs, run, plan.notes.append))
    return plan


def _referred_to(submissions: SubmissionStore, runs: RunStore) -> set[str]:
    """The runs that a submission or an ensemble is made of, whatever became of it."""
    holders = [*submissions.list(), *runs.list()]
    named = {member.get("run") for holder in holders for member in holder["members"] or []}
    return {name for name in named | {holder.get("run") for holder in holders} if name}


def _states(run: Record) -> Iterator[PruneItem]:
    """The states of an ended run, or of one that was left long ago."""
    if run.state in ENDED:
        yield from items_of(run.folder.glob("*/state*.safetensors"), STATES, run, f"the run is {run.state}")
    elif _untouched_hours(run.folder) >= _ABANDONED_HOURS:
        yield from items_of(
            run.folder.glob("*/state*.safetensors"), STATES, run, "left long ago; its open fold would begin anew"
        )


def _untouched_hours(folder: Path) -> float:
    # a lock is touched by whoever only looks whether it is free (filelock before its way of today)
    times = [path.stat().st_mtime for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return (time.time() - max(times, default=0.0)) / 3600


def _temporary(run: Record) -> Iterator[PruneItem]:
    """What a process left that was killed while it wrote: nobody trains the run now."""
    yield from items_of(run.folder.glob("*/.*.tmp"), LEFTOVERS, run, "left by a process that was killed")
    if _untouched_hours(run.folder) >= _ABANDONED_HOURS:
        yield from items_of(run.folder.glob(".*.tmp"), LEFTOVERS, run, "left by a process that was killed")


def _results(runs: RunStore, run: Record, note: Callable[[str], None]) -> Iterator[PruneItem]:
    """Weights and out-of-fold predictions; those of a run that did not finish are in no list."""
    why = "no submission or ensemble uses it"
    try:
        listed = [path for path, _ in runs.checkpoints(runs.read(run.id))]
    except (DataError, KeyError, TypeError):
        note(f"{run.id}: its list of checkpoints is broken: left alone")
        return
    weights = dict.fromkeys([*listed, *sorted(run.folder.glob("*/model.safetensors"))])
    yield from items_of(weights, CHECKPOINTS, run, why)
    yield from items_of(sorted(run.folder.glob("*/predictions.npy")), PREDICTIONS, run, why)
