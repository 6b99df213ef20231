"""Look after what the archive holds: where a submission came from, its file made again, space won back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kaggle_kit.archive import (
    ChainChecks,
    Link,
    Listing,
    PrunePlan,
    PruneRule,
    Record,
    RunPruneRule,
    RunStore,
    SubmissionStore,
    chain,
    run_chain,
)
from kaggle_kit.archive import plan_prune as plan
from kaggle_kit.archive import plan_prune_runs as plan_runs
from kaggle_kit.archive import prune as carry_out
from kaggle_kit.config import Project, digest_of
from kaggle_kit.embeddings import Folds, file_if_there
from kaggle_kit.errors import KaggleKitError
from kaggle_kit.files import sha256_of
from kaggle_kit.progress import SILENCE, Progress


@dataclass(frozen=True)
class SubmissionChain:
    """A submission and everything that it was made of, each thing held against its recorded hash.

    Attributes:
        record: the submission's record.
        links: from the score down to the data.
    """

    record: Record
    links: list[Link]

    def to_dict(self) -> dict[str, Any]:
        """The record's fields and the ``chain``, as plain data."""
        return {**self.record, "chain": [asdict(link) for link in self.links]}


def submission_chain(project: Project, submission: str | None = None) -> SubmissionChain:
    """The chain of one submission: score, file, ensemble, checkpoints, folds, data; what is still on disk is hashed anew.

    Args:
        submission: its id, or the unique beginning of one; the newest when None.

    Raises:
        MissingError: there is no such submission.
    """
    submissions, runs = SubmissionStore(project.submissions_dir), RunStore(project.models_dir)
    record = submissions.load(submission)
    return SubmissionChain(record, chain(submissions, record, runs, _checks(project)))


def run_links(project: Project, run: str) -> list[Link]:
    """The chain of a run or ensemble, from its checkpoints to the data, hashed anew as for a submission."""
    return run_chain(run, RunStore(project.models_dir), _checks(project))


def _checks(project: Project) -> ChainChecks:
    return ChainChecks(_finder(project), _folds_digest, digest_of, functools.cache(sha256_of))


def _finder(project: Project) -> Callable[[str], Path | None]:
    """Where a data file lies now, by the last part of its name, which is all that records keep."""
    competition = project.settings.competition
    whole = {PurePosixPath(name).name: name for name in competition.files.required}

    def find(name: str) -> Path | None:
        return file_if_there(whole.get(name, name), slug=competition.slug, data_dir=project.data_dir)

    return find


def _folds_digest(folder: Path) -> str | None:
    try:
        return Folds.load(folder).digest
    except KaggleKitError:
        return None


def rebuild_submission(project: Project, submission: str | None = None, output: Path | None = None) -> dict[str, Any]:
    """Write a submission's file again from its kept vectors: byte for byte what was sent, or nothing.

    Args:
        submission: its id, or the unique beginning of one; the newest when None.
        output: where to write; None: where it was.

    Returns:
        ``id``, ``path``, ``sha256``, ``size``.

    Raises:
        MissingError: no such submission, or its vectors are gone.
        DataError: the very bytes cannot be made again.
    """
    store = SubmissionStore(project.submissions_dir)
    record = store.load(submission)
    path = store.rebuild_submission_csv(record.id, output)
    return {"id": record.id, "path": str(path), "sha256": record["file"]["sha256"], "size": path.stat().st_size}


def reindex(project: Project, *, progress: Progress = SILENCE) -> dict[str, Any]:
    """Make the indexes of both archives anew from their records.

    Returns:
        ``submissions`` and ``runs``: how many were read; ``broken``: records that cannot be read, left where they are.
    """
    listings: dict[str, Listing] = {
        "submissions": SubmissionStore(project.submissions_dir).reindex(),
        "runs": RunStore(project.models_dir).reindex(),
    }
    broken = [asdict(one) for listing in listings.values() for one in listing.broken]
    return {**{name: len(listing.records) for name, listing in listings.items()}, "broken": broken}


def plan_prune(project: Project, rule: PruneRule | None = None) -> PrunePlan:
    """What ``rule`` (the default one when None) would remove from the archives; nothing is touched."""
    return plan(SubmissionStore(project.submissions_dir), RunStore(project.models_dir), rule or PruneRule())


def plan_prune_runs(project: Project, rule: RunPruneRule | None = None) -> PrunePlan:
    """What ``rule`` (the default one when None) would remove from the training runs; nothing is touched.

    Weights and predictions of runs that a submission, an ensemble or ``data.noise_run`` refers to are never in it.
    """
    noise_run = project.settings.data.noise_run
    return plan_runs(
        SubmissionStore(project.submissions_dir),
        RunStore(project.models_dir),
        rule or RunPruneRule(),
        needed=[noise_run] if noise_run else [],
    )


def prune(project: Project, decided: PrunePlan) -> int:
    """Remove what a plan lists; scores and records stay.

    Returns:
        Bytes won back.
    """
    return carry_out(decided, SubmissionStore(project.submissions_dir), RunStore(project.models_dir))
