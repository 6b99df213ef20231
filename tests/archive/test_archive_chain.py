"""From a score down to the data, and what may be thrown away."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.archive import ChainChecks, Link, PruneRule, Record, RunStore, SubmissionStore, chain, plan_prune, prune
from kaggle_kit.archive.sent import save_vectors
from kaggle_kit.errors import UsageError
from kaggle_kit.files import hash_of, sha256_of, write_bytes

Build = Callable[..., Record]


def make_run(runs: RunStore, tmp_path: Path, *, state: str = "done", **fields: object) -> Record:
    """A run with two checkpoints, trained on a data file in ``tmp_path``."""
    data = tmp_path / "train.npz"
    data.write_bytes(b"data")
    run_id = runs.reserve("mlp", "ab" * 20)
    checkpoints = []
    for fold in range(2):
        path = runs.folder_of(run_id) / f"fold{fold}.safetensors"
        write_bytes(path, b"weights" * (fold + 1))
        checkpoints.append({"fold": fold, "file": path.name, "sha256": sha256_of(path)})
    record = {
        "competition": "aml-competition",
        "state": state,
        "checkpoints": checkpoints,
        "cv": {"mrr": 0.8},
        "config": {"a": 1},
        "config_digest": hash_of({"a": 1}),
        "folds": {"count": 2, "seed": 0, "digest": "f01d5"},
        "data": {"train": {"name": "train.npz", "sha256": sha256_of(data), "size": 4}},
        "provenance": {"git": {"commit": "c0ffee" * 6, "dirty": True}},
    }
    return runs.create(run_id, record | fields)


def states(links: list[Link]) -> list[tuple[str, str]]:
    return [(link.step, link.status) for link in links]


def test_whole_chain_is_followed_and_every_hash_checked(
    submissions: SubmissionStore, runs: RunStore, build: Build, vectors: np.ndarray, tmp_path: Path
) -> None:
    run = make_run(runs, tmp_path)
    ensemble = runs.create(
        "ensemble",
        {"competition": "c", "kind": "ensemble", "state": "done", "members": [{"run": run.id, "weight": 1.0}]},
    )
    record = build(vectors, "scored", members=[{"run": ensemble.id, "weight": 1.0}], public_score=0.875, ref=5)
    checks = ChainChecks(find_data=lambda name: tmp_path / name, folds_digest=lambda folder: "f01d5")
    links = chain(submissions, record, runs, checks)
    assert states(links) == [
        ("score", "unknown"),
        ("file", "same"),
        ("vectors", "same"),
        ("ensemble", "unknown"),
        ("run", "unknown"),
        ("checkpoint", "same"),
        ("checkpoint", "same"),
        ("config", "same"),
        ("folds", "same"),
        ("data", "same"),
    ]
    assert "public 0.875" in links[0].detail
    assert "commit c0ffeec0ff with changes" in links[4].detail


def test_what_changed_or_went_is_named(
    submissions: SubmissionStore, runs: RunStore, build: Build, vectors: np.ndarray, tmp_path: Path
) -> None:
    run = make_run(runs, tmp_path)
    record = build(vectors, "scored", members=[{"run": run.id}, {"run": "never-was"}])
    submissions.file_of(record).write_text("other")
    np.save(record.folder / "vectors.npy", vectors + 1)
    (run.folder / "fold0.safetensors").write_bytes(b"other")
    (run.folder / "fold1.safetensors").unlink()
    found = states(chain(submissions, record, runs))
    assert ("file", "changed") in found
    assert ("vectors", "changed") in found
    assert [status for step, status in found if step == "checkpoint"] == ["changed", "gone"]
    assert ("folds", "gone") in found
    assert ("data", "gone") in found
    assert found[-1] == ("run", "gone")


def test_ensembles_that_name_each_other_end(
    submissions: SubmissionStore, runs: RunStore, build: Build, vectors: np.ndarray
) -> None:
    for name, other in (("a", "b"), ("b", "a")):
        runs.create(name, {"competition": "c", "kind": "ensemble", "members": [{"run": other}]})
    links = chain(submissions, build(vectors, members=[{"run": "a"}]), runs)
    assert len(links) < 10


def test_broken_run_records_do_not_stop_the_chain(
    submissions: SubmissionStore, runs: RunStore, build: Build, vectors: np.ndarray
) -> None:
    runs.create("odd", {"competition": "c", "checkpoints": [{"file": "../../x", "sha256": "0"}, {}]})
    links = chain(submissions, build(vectors, members=[{"run": "odd"}]), runs)
    assert "is outside" in links[-1].detail


def test_plan_touches_nothing_and_prune_does_what_it_said(
    submissions: SubmissionStore, runs: RunStore, build: Build, vectors: np.ndarray
) -> None:
    records = [build(vectors + i, "scored", public_score=0.5 + (i == 1) / 10) for i in range(4)]
    plan = plan_prune(submissions, runs, PruneRule(keep_newest=1, keep_best=1))
    assert {item.record_id for item in plan.items} == {records[0].id, records[2].id}
    assert plan.size == sum(records[i]["file"]["size"] for i in (0, 2))
    assert all(submissions.file_of(record).exists() for record in records)
    assert prune(plan, submissions, runs) == plan.size
    assert [submissions.file_of(record).exists() for record in records] == [False, True, False, True]
    pruned = submissions.read(records[0].id)
    assert (pruned["pruned"][0]["what"], pruned["public_score"]) == ("files", 0.5)
    assert plan_prune(submissions, runs, PruneRule(keep_newest=1, keep_best=1)).items == []
    assert sha256_of(submissions.rebuild_submission_csv(pruned.id)) == pruned["file"]["sha256"]


def test_submissions_on_their_way_and_foreign_files_are_left_alone(
    submissions: SubmissionStore, runs: RunStore, build: Build, vectors: np.ndarray
) -> None:
    sending = build(vectors, "sending")
    foreign = build(vectors + 1, "scored")
    submissions.update(foreign, file={**foreign["file"], "format": "foreign"})
    plan = plan_prune(submissions, runs, PruneRule(keep_newest=0, keep_best=0))
    assert plan.items == []
    assert any(sending.id in note and "sending" in note for note in plan.notes)
    assert any(foreign.id in note and "could not be written again" in note for note in plan.notes)


def test_vectors_go_only_when_asked(
    submissions: SubmissionStore, runs: RunStore, build: Build, vectors: np.ndarray
) -> None:
    record = build(vectors, "scored")
    rule = PruneRule(what=("files", "vectors"), keep_newest=0, keep_best=0)
    prune(plan_prune(submissions, runs, rule), submissions, runs)
    assert sorted(path.name for path in record.folder.iterdir()) == [".lock", "record.json"]


def test_young_records_are_left_alone(
    submissions: SubmissionStore, runs: RunStore, build: Build, vectors: np.ndarray
) -> None:
    build(vectors, "scored")
    assert plan_prune(submissions, runs, PruneRule(keep_newest=0, keep_best=0, older_than_days=1)).items == []


def test_checkpoints_of_kept_work_and_of_unfinished_runs_stay(
    submissions: SubmissionStore, runs: RunStore, build: Build, vectors: np.ndarray, tmp_path: Path
) -> None:
    unused, inner, outer, direct = (make_run(runs, tmp_path) for _ in range(4))
    running = make_run(runs, tmp_path, state="interrupted")
    ensemble = runs.create(
        "ensemble",
        {"competition": "c", "kind": "ensemble", "state": "done", "members": [{"run": inner.id}, {"run": outer.id}]},
    )
    build(vectors, "scored", members=[{"run": ensemble.id}, {"run": direct.id}])
    plan = plan_prune(submissions, runs, PruneRule(what=("checkpoints",), keep_newest=1, keep_best=0))
    assert {item.record_id for item in plan.items} == {unused.id}
    prune(plan, submissions, runs)
    assert not (unused.folder / "fold0.safetensors").exists()
    assert (running.folder / "fold0.safetensors").exists()
    assert runs.read(unused.id)["pruned"][1]["file"] == "fold1.safetensors"


def test_leftovers_of_killed_processes_go_once_they_are_old(
    submissions: SubmissionStore, runs: RunStore, build: Build, vectors: np.ndarray
) -> None:
    record = build(vectors, "scored")
    old, young = record.folder / ".submission.csv.1.ab.tmp", record.folder / ".submission.csv.2.ab.tmp"
    old.write_bytes(b"x" * 10)
    young.write_bytes(b"x")
    os.utime(old, (1_600_000_000, 1_600_000_000))
    plan = plan_prune(submissions, runs, PruneRule())
    assert [item.path for item in plan.items] == [old]
    assert prune(plan, submissions, runs) == 10
    assert young.exists()


def test_folder_that_never_got_a_record_goes_once_it_is_old(
    submissions: SubmissionStore, runs: RunStore, ids: np.ndarray, vectors: np.ndarray
) -> None:
    for name in ("old", "young"):
        save_vectors(submissions.folder_of(submissions.reserve(name, "ab" * 20)), ids, vectors)
    old, young = sorted(submissions.folder.glob("*-*"), key=lambda folder: "young" in folder.name)
    for path in old.iterdir():
        os.utime(path, (1_600_000_000, 1_600_000_000))
    prune(plan_prune(submissions, runs, PruneRule()), submissions, runs)
    assert not old.exists()
    assert young.exists()


def test_rules_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UsageError, match="cannot prune by"):
        PruneRule(what=("records",))
    with pytest.raises(UsageError, match="cannot prune by"):
        PruneRule(keep_newest=-1)
