"""The metrics against naive loops and known answers."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import ndcg_score, top_k_accuracy_score

from kaggle_kit import metrics


def naive_rank(prediction, gallery, right, similarity):
    """One query at a time, float64, every tie against."""
    scores = []
    for row in gallery.double():
        score = float(prediction.double() @ row)
        scores.append(score / float(row.norm()) if similarity == "cosine" else score)
    return sum(1 for score in scores if score >= scores[right])


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
def test_ranks_agree_with_a_naive_loop(similarity):
    generator = torch.Generator().manual_seed(3)
    gallery = torch.randn(60, 12, generator=generator) * torch.rand(60, 1, generator=generator).add(0.5)
    truth = torch.randint(0, 60, (90,), generator=generator)
    predictions = gallery[truth] + torch.randn(90, 12, generator=generator)
    ranks = metrics.retrieval_ranks(predictions, gallery, truth, similarity=similarity)
    assert ranks.tolist() == [
        naive_rank(p, gallery, t, similarity) for p, t in zip(predictions, truth.tolist(), strict=True)
    ]


def test_ranks_are_the_same_in_blocks(monkeypatch):
    gallery, truth = torch.randn(30, 5), torch.arange(30)
    whole = metrics.retrieval_ranks(gallery + 0.3 * torch.randn(30, 5), gallery, truth)
    monkeypatch.setattr(metrics, "BLOCK_ROWS", 7)
    assert whole.shape == metrics.retrieval_ranks(gallery, gallery, truth).shape == (30,)
    assert metrics.retrieval_ranks(gallery, gallery, truth).tolist() == [1] * 30


def test_ties_count_against():
    gallery = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    ranks = metrics.retrieval_ranks(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), gallery, torch.tensor([0, 2]))
    assert ranks.tolist() == [2, 1]


def test_constant_predictions_rank_last():
    gallery = torch.nn.functional.normalize(torch.randn(50, 4), dim=1)
    assert metrics.retrieval_ranks(torch.zeros(1, 4), gallery, torch.tensor([7])).tolist() == [50]


def test_nan_never_ranks_first():
    predictions = torch.tensor([[float("nan"), 1.0]])
    assert metrics.retrieval_ranks(predictions, torch.eye(2), torch.tensor([1])).tolist() == [2]


def test_unknown_similarity_is_refused():
    with pytest.raises(ValueError, match="cosine or dot, not 'manhattan'"):
        metrics.retrieval_ranks(torch.eye(2), torch.eye(2), torch.arange(2), similarity="manhattan")


def test_gallery_mrr_agrees_with_a_naive_loop_over_the_same_draws():
    rng = np.random.default_rng(0)
    images = torch.randn(47, 6)
    image_of_caption = np.repeat(np.arange(47), rng.integers(1, 6, 47))
    predictions = images[torch.from_numpy(image_of_caption)] + torch.randn(len(image_of_caption), 6)
    found = metrics.gallery_mrr(predictions, images, image_of_caption, gallery_size=10, draws=3, seed=5)
    sums, times = np.zeros(47), np.zeros(47)
    for captions, shown in metrics.deal_galleries(image_of_caption, gallery_size=10, draws=3, seed=5):
        assert (image_of_caption[captions] == shown).all()
        assert shown.shape == (4, 10)
        assert len(set(shown.flatten().tolist())) == 40
        for asked, members in zip(captions, shown, strict=True):
            for place in range(10):
                rank = naive_rank(predictions[asked[place]], images[members], place, "cosine")
                sums[members[place]] += 1 / rank
                times[members[place]] += 1
    means = sums[times > 0] / times[times > 0]
    assert found.mrr == pytest.approx(means.mean(), abs=1e-12)
    assert found.error == pytest.approx(means.std(ddof=1) / math.sqrt(len(means)), abs=1e-12)


def test_a_gallery_never_shows_an_image_twice():
    """Perfect predictions score 1, whatever the number of captions; galleries of captions would give 0.4567."""
    images = torch.randn(200, 16)
    image_of_caption = np.repeat(np.arange(200), 5)
    perfect = images[torch.from_numpy(image_of_caption)]
    assert metrics.gallery_mrr(perfect, images, image_of_caption).mrr == 1.0


def test_chance_is_what_the_competition_says():
    images = torch.randn(3000, 32)
    score = metrics.gallery_mrr(torch.randn(3000, 32), images, np.arange(3000), draws=4)
    assert score.mrr == pytest.approx(0.052, abs=4 * score.error)


def test_fewer_images_than_a_gallery_form_one():
    images = torch.randn(8, 3)
    score = metrics.gallery_mrr(images, images, np.arange(8))
    assert (score.mrr, score.gallery_size, score.images) == (1.0, 8, 8)


def test_full_gallery_figures_agree_with_scikit_learn():
    rng = torch.Generator().manual_seed(1)
    images = torch.randn(40, 8, generator=rng)
    predictions = images + 1.2 * torch.randn(40, 8, generator=rng)
    found = metrics.retrieval_scores(predictions, images, np.arange(40))
    scores = (metrics.unit(predictions) @ metrics.unit(images).T).numpy()
    for k, value in ((1, found.recall_at_1), (5, found.recall_at_5), (10, found.recall_at_10)):
        assert value == pytest.approx(top_k_accuracy_score(np.arange(40), scores, k=k, labels=np.arange(40)))
    assert found.ndcg == pytest.approx(ndcg_score(np.eye(40), scores), abs=1e-6)
    ranks = np.array([1 + (row > row[i]).sum() for i, row in enumerate(scores)])
    assert found.full_mrr == pytest.approx((1 / ranks).mean())
    assert found.median_rank == np.median(ranks) == (np.sort(ranks)[19] + np.sort(ranks)[20]) / 2
    assert found.cosine == pytest.approx(np.diag(scores).mean(), abs=1e-6)


def test_galleries_never_mix_groups():
    groups = np.arange(90) % 3
    for _, shown in metrics.deal_galleries(np.arange(90), gallery_size=7, draws=2, seed=0, groups=groups):
        assert shown.shape == (12, 7)
        assert all(len(set(groups[gallery])) == 1 for gallery in shown)


def test_full_gallery_figures_of_groups_average_their_galleries():
    images, groups = torch.randn(20, 4), np.arange(20) % 2
    predictions = images + torch.randn(20, 4)
    both = metrics.retrieval_scores(predictions, images, np.arange(20), groups=groups)
    halves = [metrics.retrieval_scores(predictions[g::2], images[g::2], np.arange(10)) for g in (0, 1)]
    assert both.full_mrr == pytest.approx(np.mean([half.full_mrr for half in halves]))
    assert both.full_gallery_size == 10


@pytest.mark.parametrize("length", [None, 14.0])
def test_the_gradient_of_unit_rows_is_that_of_dividing_by_the_length(length):
    """Against PyTorch's own gradient of the plain expression; one row is zero, one too short to have a direction."""
    torch.manual_seed(0)
    vectors = torch.randn(6, 9, dtype=torch.float64)
    vectors[0], vectors[1] = 0, vectors[1] * 1e-14
    slope = torch.randn(6, 9)

    def gradients(function):
        rows = vectors.float().requires_grad_()
        scale = None if length is None else torch.tensor(length, requires_grad=True)
        outputs = function(rows, scale)
        (outputs * slope).sum().backward()
        return outputs, rows.grad, None if scale is None else scale.grad

    def plain(rows, scale):
        found = torch.nn.functional.normalize(rows, dim=-1)
        return found if scale is None else found * scale

    for expected, found in zip(gradients(plain), gradients(metrics.unit), strict=True):
        torch.testing.assert_close(found, expected)


def test_unit_rows_of_short_numbers_have_a_short_gradient():
    rows = torch.randn(4, 8).bfloat16().requires_grad_()
    metrics.unit(rows).sum().backward()
    assert rows.grad.dtype == torch.bfloat16
