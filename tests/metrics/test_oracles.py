"""The metric against other people's: torchmetrics and scikit-learn, where they mean the same thing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import label_ranking_average_precision_score
from torchmetrics.functional.retrieval import retrieval_reciprocal_rank
from torchmetrics.retrieval import RetrievalMRR

from kaggle_kit.metrics import gallery_mrr, ranks_from_scores, retrieval_ranks, retrieval_scores, unit

RAISED = 10.0
"""Added to scores for torchmetrics, which gives no rank to an item that scores 0 or less."""


def a_task(seed: int, images: int = 60, dim: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    """Predictions that are right about half the time, and the images; no two scores are equal."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(images, dim, generator=generator) * torch.rand(images, 1, generator=generator).add(0.5)
    return rows + 0.9 * torch.randn(images, dim, generator=generator), rows


@pytest.mark.parametrize("seed", range(3))
def test_mrr_is_what_torchmetrics_and_scikit_learn_say(seed):
    predictions, images = a_task(seed)
    scores, truth = unit(predictions) @ unit(images).T, torch.eye(60, dtype=torch.bool)
    mrr = float((1 / retrieval_ranks(predictions, images, torch.arange(60)).double()).mean())
    queries = torch.arange(60).repeat_interleave(60)
    assert mrr == pytest.approx(
        float(RetrievalMRR()((scores.double() + RAISED).flatten(), truth.flatten(), indexes=queries)), abs=1e-6
    )
    assert mrr == pytest.approx(label_ranking_average_precision_score(truth.numpy(), scores.numpy()), abs=1e-6)
    assert mrr == pytest.approx(retrieval_scores(predictions, images, np.arange(60)).full_mrr, abs=1e-6)


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_mrr_in_one_gallery_is_what_torchmetrics_says_for_both_similarities(similarity):
    predictions, images = a_task(5, images=40)
    found = gallery_mrr(predictions, images, np.arange(40), gallery_size=40, draws=1, similarity=similarity)
    scores = (predictions @ (unit(images) if similarity == "cosine" else images).T).double()
    scores += RAISED - scores.min()
    expected = [retrieval_reciprocal_rank(row, truth) for row, truth in zip(scores, torch.eye(40).bool(), strict=True)]
    assert found.mrr == pytest.approx(float(torch.stack(expected).mean()), abs=1e-6)


SCORES = st.lists(st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0, float("nan")]), min_size=2, max_size=12)


@settings(max_examples=60, deadline=None)
@given(SCORES, st.integers(0, 11))
def test_ties_count_against_and_a_nan_never_ranks_first(scores, place):
    """Ties included this is scikit-learn's rank: the number of labels scored as high or higher."""
    right = place % len(scores)
    rank = int(ranks_from_scores(torch.tensor([scores]), torch.tensor([right])))
    own, others = scores[right], [score for at, score in enumerate(scores) if at != right]
    assert rank == 1 + sum(not other < own for other in others)
    if np.isnan(own):
        assert rank == len(scores), "what is not a number ranks last"
    elif not np.isnan(scores).any():
        truth = np.arange(len(scores)) == right
        assert 1 / rank == pytest.approx(label_ranking_average_precision_score([truth], [scores]), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 50), st.integers(-20, 20), st.integers(2, 30))
def test_a_rank_depends_neither_on_lengths_nor_on_the_gallerys_order(seed, exponent, images):
    """In whole numbers, which floating point multiplies exactly; ties among them stay ties."""
    generator = torch.Generator().manual_seed(seed)
    predictions, rows = (torch.randint(-3, 4, (images, 4), generator=generator).float() for _ in range(2))
    ranks = retrieval_ranks(predictions, rows, torch.arange(images), similarity="dot")
    longer = retrieval_ranks(2.0**exponent * predictions, rows, torch.arange(images), similarity="dot")
    assert longer.tolist() == ranks.tolist()
    order = torch.randperm(images, generator=generator)
    shuffled = retrieval_ranks(predictions, rows[order], torch.argsort(order), similarity="dot")
    assert shuffled.tolist() == ranks.tolist()
    assert ((ranks >= 1) & (ranks <= images)).all()
