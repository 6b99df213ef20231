"""Vectors held against an earlier submission."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.submission import Earlier, ValidationReport, validate_submission, write_submission

ROWS, DIMENSION = 60, 24


@pytest.fixture
def truth() -> np.ndarray:
    generator = np.random.default_rng(3)
    # as real embeddings do, all rows share a direction
    return (generator.standard_normal((ROWS, DIMENSION)) + 1.0).astype(np.float32)


def similar(truth: np.ndarray, seed: int) -> np.ndarray:
    """What another model would predict: the truth with noise, at another scale."""
    noise = np.random.default_rng(seed).standard_normal(truth.shape)
    return (3.0 * (truth + 0.7 * noise)).astype(np.float32)


def look(tmp_path: Path, vectors: np.ndarray, earlier: np.ndarray) -> ValidationReport:
    path = write_submission(tmp_path / "s.csv", np.arange(ROWS), vectors).path
    return validate_submission(path, np.arange(ROWS), DIMENSION, earlier=[Earlier("the last one", earlier)])


@pytest.mark.parametrize("seed", range(5))
def test_another_good_submission_raises_no_warning(tmp_path: Path, truth: np.ndarray, seed: int) -> None:
    assert look(tmp_path, similar(truth, seed), similar(truth, seed + 100)).warnings == []


def test_same_vectors_are_recognised_at_any_length_and_precision(tmp_path: Path, truth: np.ndarray) -> None:
    for vectors in (truth, truth * 2, np.round(truth, 5)):
        report = look(tmp_path, vectors.astype(np.float32), truth)
        assert [(one.kind, one.message) for one in report.warnings] == [
            ("same_vectors", "the vectors are those of the last one")
        ]
        assert report.valid


@pytest.mark.parametrize(("step", "way"), [(-1, "up"), (1, "down")])
def test_rows_shifted_by_one_are_recognised(tmp_path: Path, truth: np.ndarray, step: int, way: str) -> None:
    report = look(tmp_path, np.roll(similar(truth, 1), step, axis=0), similar(truth, 2))
    assert [one.kind for one in report.warnings] == ["shifted"]
    assert f"shifted {way} by one" in report.warnings[0].message


def test_rows_in_the_wrong_order_are_recognised(tmp_path: Path, truth: np.ndarray) -> None:
    shuffled = similar(truth, 1)[np.random.default_rng(0).permutation(ROWS)]
    report = look(tmp_path, shuffled, similar(truth, 2))
    assert [one.kind for one in report.warnings] == ["wrong_order"]


def test_earlier_vectors_of_another_shape_are_passed_over(tmp_path: Path, truth: np.ndarray) -> None:
    assert look(tmp_path, truth, truth[:, 1:]).warnings == []
    assert look(tmp_path, truth, truth[1:]).warnings == []


def test_mapped_vectors_will_do(tmp_path: Path, truth: np.ndarray) -> None:
    np.save(tmp_path / "v.npy", truth)
    report = look(tmp_path, truth, np.load(tmp_path / "v.npy", mmap_mode="r"))
    assert report.warning_kinds == {"same_vectors": 1}
