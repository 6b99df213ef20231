"""The choice of the two final submissions, against numbers worked out by simulation."""

from __future__ import annotations

import numpy as np
import pytest

from kaggle_kit.archive import SubmissionStore
from kaggle_kit.competition import SubmissionFormat
from kaggle_kit.errors import MissingError, UsageError
from kaggle_kit.workflow.final import expected_better, final


@pytest.fixture
def file(project):
    """File a scored submission."""
    store = SubmissionStore(project.submissions_dir)

    def file(vectors, public, cv, **fields):
        head = {
            "competition": project.settings.competition.slug,
            "public_score": public,
            "cv": cv,
            "ref": len(store.list()) + 1,
        }
        record = store.build("x", range(len(vectors)), vectors, {**head, **fields}, columns=SubmissionFormat())
        for state in ("valid", "sending", "scored"):
            record = store.advance(record, state)
        return record

    return file


def test_expected_better_of_two_is_that_of_a_simulation():
    dice = np.random.default_rng(0)
    for one, other, spread, correlation in [(0.86, 0.85, 0.01, 0.5), (0.8, 0.9, 0.05, -0.3), (0.7, 0.7, 0.02, 0.0)]:
        covariance = spread**2 * np.array([[1, correlation], [correlation, 1]])
        drawn = dice.multivariate_normal([one, other], covariance, size=400_000).max(axis=1).mean()
        assert expected_better(one, other, spread, correlation) == pytest.approx(drawn, abs=1e-3 * spread * 10)
    assert expected_better(0.7, 0.6, 0.01, 1.0) == 0.7


def test_second_choice_is_the_different_one_among_nearly_equals(project, file):
    dice = np.random.default_rng(1)
    best = dice.standard_normal((50, 16)).astype(np.float32)
    twin = best + 0.01 * dice.standard_normal(best.shape).astype(np.float32)
    other = dice.standard_normal((50, 16)).astype(np.float32)
    first, _, third = file(best, 0.870, 0.860), file(twin, 0.869, 0.859), file(other, 0.867, 0.857)
    choice = final(project)
    assert [one.id for one in choice.chosen] == [first.id, third.id]
    assert choice.offset == pytest.approx(0.01)
    assert choice.chosen[1].cosine == pytest.approx(0, abs=0.1)
    assert "mean cosine" in choice.chosen[1].why


def test_a_lucky_public_score_is_weighed_against_its_cv(project, file):
    dice = np.random.default_rng(2)
    vectors = [dice.standard_normal((50, 16)).astype(np.float32) for _ in range(3)]
    solid, lucky = file(vectors[0], 0.870, 0.862), file(vectors[1], 0.873, 0.848)
    file(vectors[2], 0.850, 0.842)
    choice = final(project, record=False)
    assert choice.chosen[0].id == solid.id
    assert lucky.id in [one.id for one in choice.candidates]


def test_submissions_made_elsewhere_count_without_cv_and_vectors(project, file):
    dice = np.random.default_rng(3)
    ours = file(dice.standard_normal((50, 16)).astype(np.float32), 0.87, 0.86)
    store = SubmissionStore(project.submissions_dir)
    fields = {"competition": project.settings.competition.slug, "state": "scored", "public_score": 0.8, "ref": 99}
    elsewhere = store.create(store.reserve("elsewhere", "ab" * 20), fields)
    choice = final(project)
    assert [one.id for one in choice.chosen] == [ours.id, elsewhere.id]
    assert "unknown" in choice.chosen[1].why


def test_one_or_no_scored_submission(project, file):
    with pytest.raises(MissingError, match="has a score yet"):
        final(project)
    only = file(np.eye(4, dtype=np.float32), 0.5, None)
    assert [one.id for one in final(project).chosen] == [only.id]
    with pytest.raises(UsageError, match="3 submissions named"):
        final(project, [only.id] * 3)


def test_a_rehearsal_is_given_no_page_of_kaggles(make_project, project, file):
    file(np.eye(4, dtype=np.float32), 0.5, None)
    assert final(project).link.startswith("https://www.kaggle.com/competitions/small-competition/")
    file(np.eye(4, dtype=np.float32), 0.5, None, rehearsal=True)
    assert final(make_project(**{"competition.rehearsal": True})).link is None
