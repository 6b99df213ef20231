"""``kk runs prune``: what goes, and what never does."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from played import template, tiny  # noqa: F401  # fixtures

from kaggle_kit.archive import RunStore
from kaggle_kit.archive.records import hold_lock

ALL = ("runs", "prune", "--keep-newest", "0", "--keep-best", "0", "--json")


@pytest.fixture
def store(tiny) -> RunStore:  # noqa: F811
    return RunStore(tiny / "models_archive")


def content(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_weights_and_predictions_of_old_runs_go_and_scores_stay(store, kk):
    (old,) = store.list()
    assert kk("train", "-q", "--set", "translator.strength=1").code == 0
    dry = kk(*ALL, "--dry-run").json
    assert (dry["removed"], len(dry["items"])) == (0, 8)
    nobody = kk("runs", "prune", "--keep-newest", "1", "--keep-best", "0")
    assert (nobody.code, "--yes" in nobody.err) == (2, True)
    assert "fold-0-seed-0/model.safetensors" in nobody.out
    before = content(old.folder)
    gone = kk("runs", "prune", "--keep-newest", "1", "--keep-best", "0", "--yes", "--json").json
    assert gone["removed"] == gone["size"] > 0
    members = [f"fold-{fold}-seed-0/{name}" for fold in (0, 1) for name in ("model.safetensors", "predictions.npy")]
    assert before - content(old.folder) - {"training.lock"} == set(members)
    after = store.read(old.id)
    assert after["cv"] == old["cv"]
    assert {note["file"] for note in after["pruned"]} == set(members)
    assert kk("runs", "prune", "--keep-newest", "1", "--keep-best", "0").out == (
        "nothing to prune: the newest 1, the best 0 and what they are made of stay\n"
    )
    lost = kk("predict", old.id)
    assert (lost.code, f"kk train --resume {old.id} trains what is missing" in lost.err) == (8, True)
    assert kk("train", "--resume", old.id, "-q").code == 0
    again = store.read(old.id)
    assert (again["pruned"], again["checkpoints"], again["cv"]) == ([], old["checkpoints"], old["cv"])


def test_best_newest_young_and_used_runs_are_kept(store, kk):
    (run,) = store.list()
    for kept in (
        ("--keep-newest", "1"),
        ("--keep-best", "1"),
        ("--older-than", "1"),
        ("--set", f"data.noise_run={run.id}"),
    ):
        assert kk(*ALL, *kept).json["items"] == []
    assert kk("train", "-q", "--translator", "procrustes").code == 0
    assert kk("ensemble", *[one.id for one in store.list()], "-q", "--set", "paths.submissions=elsewhere").code == 0
    assert kk(*ALL).json["items"] == []


def test_run_that_is_being_trained_is_left_alone(store, kk):
    (run,) = store.list()
    with hold_lock(run.folder / "training.lock", 0.0, "the run"):
        outcome = kk(*ALL, "--yes").json
    assert (outcome["items"], outcome["notes"]) == ([], [f"{run.id} is being trained: left alone"])


def test_states_only_takes_what_nobody_will_go_on_from(store, kk):
    (run,) = store.list()
    state, half = run.folder / "fold-0-seed-0" / "state.safetensors", run.folder / "fold-1-seed-0" / ".model.1.tmp"
    for path in (state, half):
        path.write_bytes(b"x" * 1000)
    store.update(run.id, state="interrupted")
    long_ago = time.time() - 3 * 86400
    held = kk(*ALL, "--states-only", "--dry-run").json["items"]
    assert {Path(item["path"]).name for item in held} == {half.name}
    for path in run.folder.rglob("*"):
        os.utime(path, (long_ago, long_ago))
    gone = kk(*ALL, "--states-only", "--yes").json
    assert {Path(item["path"]).name for item in gone["items"]} == {state.name, half.name}
    assert gone["removed"] == 2000
    assert not state.exists()
    assert (run.folder / "fold-0-seed-0" / "model.safetensors").exists()
