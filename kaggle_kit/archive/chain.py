"""One submission's whole ancestry: score <- file <- ensemble <- checkpoints <- folds <- data, each hash held against the disk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.archive.records import Record
from kaggle_kit.archive.runs import RunStore
from kaggle_kit.archive.submissions import SubmissionStore
from kaggle_kit.errors import KaggleKitError
from kaggle_kit.files import hash_of, sha256_of

SAME, CHANGED, GONE, UNKNOWN = "same", "changed", "gone", "unknown"


@dataclass(frozen=True)
class Link:
    """One step of the chain."""

    step: str
    """``score``, ``file``, ``vectors``, ``ensemble``, ``run``, ``checkpoint``, ``config``, ``folds`` or ``data``."""
    name: str
    detail: str = ""
    expected: str | None = None
    """The hash in the record."""
    status: str = UNKNOWN
    """``same``, ``changed``, ``gone`` (no longer on disk) or ``unknown`` (nothing to check, or no hash recorded)."""
    path: Path | None = None


@dataclass(frozen=True)
class ChainChecks:
    """What only higher layers know: where the data lies and how folds are hashed."""

    find_data: Callable[[str], Path | None] = lambda name: None
    """A data file's name in the run's record -> where it is, None when it is not there."""
    folds_digest: Callable[[Path], str | None] = lambda folder: None
    """A run's folder -> the digest of the folds saved in it, None when they are not there."""
    config_digest: Callable[[Mapping[str, Any]], str] = hash_of
    """The settings in a run's record -> their digest, made as the run made it."""
    hash_file: Callable[[Path], str] = sha256_of
    """The hash of a file; one that remembers reads the training data once for all members of an ensemble."""


def chain(
    submissions: SubmissionStore, record: Record, runs: RunStore, checks: ChainChecks = ChainChecks()
) -> list[Link]:
    """From a submission's score down to the data, each hash checked where the thing is still on disk.

    A broken or missing run is a link of its own that says so; nothing is raised for it.
    """
    return [
        *_submission_links(submissions, record, checks),
        *_member_links(_sources(record, runs), runs, checks, frozenset()),
        *_data_links({"test": record.get("test")}, checks),
    ]


def run_chain(run: str, runs: RunStore, checks: ChainChecks = ChainChecks()) -> list[Link]:
    """From a run or an ensemble down to the data, as :func:`chain` does from a submission."""
    return [*_member_links([{"run": run}], runs, checks, frozenset())]


def _sources(record: Record, runs: RunStore) -> list[Mapping[str, Any]]:
    """The ensemble that was submitted, whose members follow from it; else the runs themselves."""
    members: list[Mapping[str, Any]] = record["members"]
    name = record.get("run")
    if not name or name in [member.get("run") for member in members]:
        return members
    try:
        return [{"run": name}] if runs.read(name)["members"] else [{"run": name}, *members]
    except KaggleKitError:
        return [{"run": name}, *members]


def _submission_links(submissions: SubmissionStore, record: Record, checks: ChainChecks) -> Iterator[Link]:
    score = "not scored" if record["public_score"] is None else f"public {record['public_score']}"
    score += "" if record["private_score"] is None else f", private {record['private_score']}"
    yield Link("score", str(record["ref"] or "no reference"), f"{score}; {record['kaggle_status'] or record.state}")
    file = record["file"]
    if file.get("name"):
        facts = (submissions.file_of(record), file.get("sha256"), file.get("format") or "")
        yield _file_link(checks, "file", file["name"], *facts)
    vectors = record["vectors"]
    if vectors.get("dimension"):
        shape = f"{vectors.get('rows')} x {vectors.get('dimension')}"
        status = _vectors_status(submissions, record, vectors.get("sha256"))
        yield Link("vectors", "vectors.npy", shape, vectors.get("sha256"), status, record.folder / "vectors.npy")


def _vectors_status(submissions: SubmissionStore, record: Record, expected: str | None) -> str:
    from kaggle_kit.submission import vectors_sha256

    if not (record.folder / "vectors.npy").exists():
        return GONE
    try:
        return _verdict(vectors_sha256(submissions.vectors(record)[1]), expected)
    except KaggleKitError:
        return CHANGED


def _member_links(
    members: list[Mapping[str, Any]], runs: RunStore, checks: ChainChecks, above: frozenset[str]
) -> Iterator[Link]:
    for member in members:
        name = str(member.get("run"))
        weight = f"weight {member['weight']:g}" if member.get("weight") is not None else ""
        try:
            run = runs.read(name)
        except KaggleKitError as error:
            yield Link("run", name, error.message, status=GONE)
            continue
        step = "ensemble" if run["kind"] == "ensemble" else "run"
        yield Link(step, name, ", ".join(part for part in (weight, _run_words(run)) if part))
        if step == "run":  # folds, settings and data of an ensemble are those of its members
            yield from _run_links(run, runs, checks)
        if name not in above:  # a record that names itself must not go round for ever
            yield from _member_links(run["members"], runs, checks, above | {name})


def _run_words(run: Record) -> str:
    commit = ((run["provenance"].get("git") or {}).get("commit") or "")[:10]
    dirty = " with changes" if (run["provenance"].get("git") or {}).get("dirty") else ""
    words = [run.state, f"cv {run.cv:.5f}" if run.cv is not None else "", f"commit {commit}{dirty}" if commit else ""]
    return ", ".join(word for word in words if word)


def _run_links(run: Record, runs: RunStore, checks: ChainChecks) -> Iterator[Link]:
    try:
        for path, expected in runs.checkpoints(run):
            yield _file_link(checks, "checkpoint", path.relative_to(run.folder).as_posix(), path, expected)
    except (KaggleKitError, KeyError, TypeError) as error:
        yield Link("checkpoint", run.id, f"the list of checkpoints is broken: {error}", status=CHANGED)
    if run["config"] and run["config_digest"]:
        # a digest made another way cannot be checked here, which is not the same as wrong
        status = SAME if checks.config_digest(run["config"]) == run["config_digest"] else UNKNOWN
        yield Link("config", run.id, expected=run["config_digest"], status=status)
    if run["folds"].get("digest"):
        found = checks.folds_digest(run.folder)
        detail = f"{run['folds'].get('count')} folds, seed {run['folds'].get('seed')}"
        yield Link("folds", run.id, detail, run["folds"]["digest"], _verdict(found, run["folds"]["digest"]))
    yield from _data_links({"train": _train_facts(run["data"])}, checks)


def _train_facts(data: Mapping[str, Any]) -> Any:
    """The training file as a run's record tells of it: as a table of its own, or flat."""
    return data.get("train") or {"name": data.get("train_file"), "sha256": data.get("train_sha256")}


def _data_links(data: Mapping[str, Any], checks: ChainChecks) -> Iterator[Link]:
    for part, facts in data.items():
        if isinstance(facts, dict) and facts.get("sha256"):
            name = str(facts.get("name") or part)
            size = f", {facts['size']:,} bytes" if facts.get("size") is not None else ""
            yield _file_link(checks, "data", name, checks.find_data(name), facts["sha256"], f"{part}{size}")


def _file_link(
    checks: ChainChecks, step: str, name: str, path: Path | None, expected: str | None, detail: str = ""
) -> Link:
    found = checks.hash_file(path) if path is not None and path.is_file() else None
    return Link(step, name, detail, expected, _verdict(found, expected), path)


def _verdict(found: str | None, expected: str | None) -> str:
    if found is None:
        return GONE
    if expected is None:
        return UNKNOWN
    return SAME if found == expected else CHANGED
