"""CVs of galleries smaller than the competition's: told of, marked, and never ranked before those of the right size."""

from __future__ import annotations

from pathlib import Path

import pytest
from played import template, tiny  # noqa: F401  # fixtures

from kaggle_kit.archive import Record, RunPruneRule, RunStore, SubmissionStore, plan_prune_runs
from kaggle_kit.errors import DataError

HELD_OUT = "folds.holdout=0.035"


@pytest.fixture
def small(tiny, kk) -> tuple[Record, Record]:  # noqa: F811
    """The project's run in galleries of 20, and a newer one that held out so few images that it could hardly miss."""
    outcome = kk("train", "--folds", "1", "--set", HELD_OUT, "--name", "small", "--json")
    assert outcome.code == 0, outcome.err
    full, easy = sorted(RunStore(tiny / "models_archive").list(), key=lambda run: run.created)
    assert (full.gallery_size, easy.gallery_size) == (20, 3)
    assert easy.cv > full.cv
    assert "holds out 3 images, fewer than a gallery of 20: the CV is of galleries of 3" in outcome.err
    return full, easy


def test_a_cv_of_small_galleries_is_marked_and_is_no_best(small, kk):
    full, easy = small
    rows = kk("leaderboard", "--runs", "--json").json
    assert {row["id"]: (row["gallery_size"], row["comparable"], row["best"]) for row in rows} == {
        full.id: (20, True, True), easy.id: (3, False, False),
    }  # fmt: skip
    assert [row["id"] for row in kk("leaderboard", "--runs", "--sort", "cv", "--json").json] == [
        full.id,
        easy.id,
    ]
    shown = kk("leaderboard", "--runs").out
    assert f"{easy.cv:.4f}" in shown
    assert "~ in galleries of another size (3)" in shown
    assert "~ in galleries of another size (3)" in kk("runs", "list").out
    assert kk("--json").json["best_cv"] == full.cv


def test_what_chooses_by_cv_passes_small_galleries_by(small, kk, tiny):  # noqa: F811
    full, easy = small
    outcome = kk("predict", "--json")
    assert outcome.json["run"] == easy.id
    assert (
        f"the newest run, {easy.id} (CV {easy.cv:.4f}, in galleries of 3), is taken; {full.id} has {full.cv:.4f}"
        in outcome.err
    )
    assert full.id in kk("--json").json["next_command"]
    page = kk("report", "--json").json["path"]
    assert f"The run with the best CV: {full.id}" in Path(page).read_text(encoding="utf-8")
    store = RunStore(tiny / "models_archive")
    rule = RunPruneRule(keep_newest=0, keep_best=1)
    losing = {
        item.record_id for item in plan_prune_runs(SubmissionStore(tiny / "submissions_archive"), store, rule).items
    }
    assert losing == {easy.id}


def test_a_gallery_of_one_image_is_refused(tiny, kk):  # noqa: F811
    outcome = kk("train", "--folds", "1", "--set", "folds.holdout=0.001")
    assert outcome.code == DataError.exit_code
    assert "fold 1 holds out a single image: there is nothing to rank it among" in outcome.err
    assert len(RunStore(tiny / "models_archive").list()) == 1
