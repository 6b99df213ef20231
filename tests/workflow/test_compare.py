"""Comparing runs: the same galleries, paired differences, nothing trained twice."""

from __future__ import annotations

import numpy as np
import pytest

from kaggle_kit.archive import RunStore
from kaggle_kit.embeddings import generate_competition
from kaggle_kit.errors import DataError, MissingError, UsageError
from kaggle_kit.workflow.compare import compare, learning_curve, paired_difference
from kaggle_kit.workflow.ensemble import ensemble
from kaggle_kit.workflow.predict import finished_run
from kaggle_kit.workflow.train import train


def test_a_paired_difference_has_the_error_of_its_differences():
    rng = np.random.default_rng(0)
    base = rng.random(400)
    scores = base + 0.05 + 0.1 * rng.standard_normal(400)
    scores[3] = np.nan
    mean, error, low, high = paired_difference(scores, base)
    differences = np.delete(scores - base, 3)
    assert mean == pytest.approx(differences.mean())
    assert error == pytest.approx(differences.std(ddof=1) / np.sqrt(399))
    assert low == pytest.approx(mean - 1.96 * error, abs=0.002)
    assert high == pytest.approx(mean + 1.96 * error, abs=0.002)


def test_runs_are_compared_on_the_same_galleries(make_project, project, run):
    other = train(make_project(**{"translator.name": "procrustes"}))
    table = compare(project, [run.id, other.id, run.id])
    first, second, again = table.rows
    assert first["cv"] == pytest.approx(run.cv)
    assert first["difference"] is None
    assert second["difference"] == pytest.approx(second["cv"] - first["cv"])
    assert again["cv"] == first["cv"]
    assert second["low"] < second["difference"] < second["high"]
    assert first["parameters"] == 48 * 16 + 48 + 16
    assert first["ms_a_query"] > 0


def test_a_configuration_is_trained_once(project, clean_world):
    (clean_world / "kk.toml").write_text(
        '[competition]\nslug = "small-competition"\ngallery_size = 10\n[folds]\ncount = 2\n[train]\nthreads = 1\n'
    )
    before = len(RunStore(project.models_dir).list())
    first = compare(project, ["ridge", "procrustes"])
    second = compare(project, ["ridge", "procrustes"])
    assert [row["run"] for row in first.rows] == [row["run"] for row in second.rows]
    assert len(RunStore(project.models_dir).list()) == before + 2


def test_a_configuration_is_trained_anew_on_other_data(project, clean_world, tmp_path):
    (clean_world / "kk.toml").write_text(
        '[competition]\nslug = "small-competition"\ngallery_size = 10\n[folds]\ncount = 2\n[train]\nthreads = 1\n'
    )
    first = compare(project, ["ridge", "procrustes"])
    (clean_world / "data" / "small-competition").unlink()
    generate_competition(
        clean_world / "data" / "small-competition", captions=900, images=300, text_dim=48, image_dim=16, test=40, seed=4
    )
    second = compare(project, ["ridge", "procrustes"])
    assert not {row["run"] for row in first.rows} & {row["run"] for row in second.rows}


def test_what_is_measured_only_is_trained_without_refits(make_project):
    project = make_project(**{"train.refit": 3})
    row, _ = compare(project, ["procrustes", "ridge"]).rows
    assert RunStore(project.models_dir).load(row["run"])["refit"] == 0


def test_settings_given_directly_hold_for_every_configuration(make_project):
    project = make_project(**{"folds.by": "text_clusters"})
    rows = compare(project, ["ridge", "procrustes"]).rows
    records = [RunStore(project.models_dir).load(row["run"]) for row in rows]
    assert [record["translator"] for record in records] == ["ridge", "procrustes"]
    assert {record["folds"]["by"] for record in records} == {"text_clusters"}
    assert len({record["folds"]["digest"] for record in records}) == 1
    assert rows[0]["cv"] < train(make_project()).cv, "what was never seen is harder"


def test_a_learning_curve_rises_and_ends_with_all_images(project, run):
    table = learning_curve(project, run.id, [0.5, 0.1])
    assert [row["share"] for row in table.rows] == [0.1, 0.5, 1.0]
    assert [row["images"] for row in table.rows] == [15, 75, 150]
    assert table.rows[-1]["run"] == run.id, "what is there is not trained again"
    assert table.rows[-1]["difference"] is None
    assert table.rows[0]["cv"] < table.rows[1]["cv"] < table.rows[2]["cv"]
    low = table.rows[0]
    assert low["difference"] == pytest.approx(low["cv"] - run.cv)
    assert low["low"] < low["difference"] < low["high"] < 0
    assert finished_run(project, None).id == run.id, "a measurement on a part is not what kk submit sends"
    with pytest.raises(UsageError, match="shares must be above 0 and at most 1, not 2"):
        learning_curve(project, run.id, [2.0])


def test_an_ensemble_of_the_best_takes_no_measurements(make_project, project, run):
    other = train(make_project(**{"translator.name": "procrustes"}))
    train(make_project(**{"data.share": 0.9}))
    best = ensemble(project, from_archive=5)
    assert {member["run"] for member in best.record["members"]} == {run.id, other.id}


def test_what_cannot_be_compared_is_named(make_project, project, run):
    other = train(make_project(**{"folds.seed": 5}))
    with pytest.raises(DataError, match="have different folds"):
        compare(project, [run.id, other.id])
    with pytest.raises(UsageError, match="at least two"):
        compare(project, [run.id])
    with pytest.raises(MissingError, match="no run 'nothing'"):
        compare(project, [run.id, "nothing"])


def test_runs_are_compared_in_the_same_galleries_whatever_each_was_scored_in(make_project, project, run):
    other = train(make_project(**{"competition.gallery_size": 30}))
    assert other.cv < run.cv, "larger galleries are harder"
    first, second = compare(project, [run.id, other.id]).rows
    assert second["difference"] == pytest.approx(0, abs=1e-12)
    assert second["cv"] == first["cv"] == pytest.approx(run.cv)


def test_nothing_is_trained_where_another_name_is_wrong(project):
    before = len(RunStore(project.models_dir).list())
    with pytest.raises(MissingError, match="residul"):
        compare(project, ["ridge", "residul"])
    assert len(RunStore(project.models_dir).list()) == before
