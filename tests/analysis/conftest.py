"""Predictions whose every figure can be computed again by a loop."""

from __future__ import annotations

import numpy as np
import pytest
from made_evidence import make_evidence

from kaggle_kit.analysis.evidence import Evidence, Rankings, random_others, rank_galleries


@pytest.fixture
def evidence() -> Evidence:
    return make_evidence()


@pytest.fixture
def rankings(evidence: Evidence) -> Rankings:
    return rank_galleries(evidence, neighbours=4)


@pytest.fixture
def others(evidence: Evidence) -> np.ndarray:
    return random_others(evidence, 0)
