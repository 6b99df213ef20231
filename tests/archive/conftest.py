"""Archives with a clock that goes on by a second each time it is read."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kaggle_kit.archive import Record, RunStore, SubmissionStore
from kaggle_kit.competition import SubmissionFormat


class Clock:
    def __init__(self) -> None:
        self.now = datetime(2026, 11, 23, 14, 15, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        self.now += timedelta(seconds=1)
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def submissions(tmp_path: Path, clock: Clock) -> SubmissionStore:
    return SubmissionStore(tmp_path / "submissions_archive", clock=clock, lock_timeout_s=5)


@pytest.fixture
def runs(tmp_path: Path, clock: Clock) -> RunStore:
    return RunStore(tmp_path / "models_archive", clock=clock, lock_timeout_s=5)


@pytest.fixture
def ids() -> np.ndarray:
    return np.arange(1, 13)


@pytest.fixture
def vectors() -> np.ndarray:
    return np.random.default_rng(5).standard_normal((12, 8)).astype(np.float32)


@pytest.fixture
def build(submissions: SubmissionStore, ids: np.ndarray) -> Callable[..., Record]:
    """Builds a submission of the given vectors and brings it to a state."""

    def make(
        vectors: np.ndarray,
        state: str = "built",
        *,
        digits: int | None = None,
        compress: str | None = None,
        **fields: Any,
    ) -> Record:
        record = submissions.build(
            "demo",
            ids,
            vectors,
            {"competition": "aml-competition", "message": "first try", **fields},
            columns=SubmissionFormat(),
            digits=digits,
            compress=compress,
        )
        for step in ("valid", "sending", "sent", "scored"):
            if record.state == state:
                break
            record = submissions.advance(record, step)
        return record

    return make
