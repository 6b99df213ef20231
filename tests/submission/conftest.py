"""A small submission: twelve rows of eight numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.submission import write_submission

ROWS, DIMENSION = 12, 8


@pytest.fixture
def ids() -> np.ndarray:
    return np.arange(1, ROWS + 1)


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(7).standard_normal((ROWS, DIMENSION)).astype(np.float32)


@pytest.fixture
def good_file(tmp_path: Path, ids: np.ndarray, vectors: np.ndarray) -> Path:
    return write_submission(tmp_path / "submission.csv", ids, vectors).path


@pytest.fixture
def changed(good_file: Path) -> Callable[[Callable[[list[str]], list[str]]], Path]:
    """Rewrites the good file by a function of its lines (line 0 is the header)."""

    def rewrite(change: Callable[[list[str]], list[str]]) -> Path:
        lines = good_file.read_text().splitlines()
        good_file.write_bytes(("\n".join(change(lines)) + "\n").encode())
        return good_file

    return rewrite
