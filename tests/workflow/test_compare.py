"""Comparing runs: the same galleries, paired differences, nothing trained twice."""

from __future__ import annotations

import numpy as np
import pytest

from kaggle_kit.archive import RunStore
from kaggle_kit.errors import DataError, MissingError, UsageError
from kaggle_kit.workflow.compare import compare, paired_difference
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


def test_what_cannot_be_compared_is_named(make_project, project, run):
    other = train(make_project(**{"folds.seed": 5}))
    with pytest.raises(DataError, match="have different folds"):
        compare(project, [run.id, other.id])
    with pytest.raises(UsageError, match="at least two"):
        compare(project, [run.id])
    with pytest.raises(MissingError, match="no run 'nothing'"):
        compare(project, [run.id, "nothing"])
