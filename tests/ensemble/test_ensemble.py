"""Ensembles: unit vectors averaged, weights chosen greedily and checked, contributions, folds that do not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from kaggle_kit.ensemble import (
    choose_weights,
    combine,
    combine_out_of_fold,
    contributions,
    gallery_scores,
    refuse_crossed_folds,
    refuse_twins,
)
from kaggle_kit.errors import DataError, DuplicateError
from kaggle_kit.metrics import gallery_mrr
from kaggle_kit.training.crossvalidation import OutOfFold

IMAGES, EACH, DIM = 120, 2, 16
IMAGE_OF_CAPTION = np.repeat(np.arange(IMAGES), EACH)


def parts_of(*noises: float, folds: int = 2) -> tuple[list[OutOfFold], torch.Tensor]:
    """Predictions with so much noise each, all of the same folds, and the images."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(IMAGES, DIM, generator=generator)
    truth = images[torch.from_numpy(IMAGE_OF_CAPTION)]
    fold = np.arange(IMAGES) % folds
    covered = np.ones(len(IMAGE_OF_CAPTION), bool)
    noisy = [truth + noise * torch.randn(truth.shape, generator=generator) for noise in noises]
    return [OutOfFold(torch.nn.functional.normalize(rows), covered, fold) for rows in noisy], images


def test_the_weighted_scores_are_those_of_the_weighted_vectors():
    parts, images = parts_of(1.0, 1.5)
    scores = gallery_scores(parts, images, IMAGE_OF_CAPTION, gallery_size=30, draws=3)
    together = combine([part.predictions for part in parts], [0.7, 0.3])
    ranks = []
    for gallery in range(scores.scores.shape[1]):
        weighted = 0.7 * scores.scores[0, gallery] + 0.3 * scores.scores[1, gallery]
        ranks += [1 / int((row >= row[place]).sum()) for place, row in enumerate(weighted)]
    assert scores.mrr(torch.tensor([0.7, 0.3])) == pytest.approx(np.mean(ranks))
    whole = gallery_mrr(together, images, IMAGE_OF_CAPTION, gallery_size=30, groups=parts[0].fold_of_image)
    assert np.mean(ranks) == pytest.approx(whole.mrr, abs=4 * whole.error)


def test_half_precision_members_are_summed_in_full_precision():
    # many members of small weights: half precision would lose what they add
    parts, _ = parts_of(*np.linspace(0.5, 2.0, 40))
    halves, weights = [part.predictions.half() for part in parts], [1 / 40] * 40
    together = combine(halves, weights)
    assert together.dtype == torch.float32
    exact = sum(torch.nn.functional.normalize(half.double()) for half in halves)
    assert torch.allclose(together.double(), torch.nn.functional.normalize(exact), atol=1e-6)


def test_no_image_is_in_both_halves_of_the_galleries():
    parts, images = parts_of(0.0)
    scores = gallery_scores(parts, images, IMAGE_OF_CAPTION, gallery_size=10, draws=2)
    right = torch.diagonal(scores.scores[0], dim1=1, dim2=2)
    assert torch.allclose(right, images.norm(dim=1).new_ones(right.shape), atol=1e-5), "row i belongs to column i"
    assert scores.first_half.tolist().count(True) == scores.first_half.tolist().count(False)


def test_greedy_selection_leaves_out_what_does_not_help_and_beats_equal_weights():
    parts, images = parts_of(1.0, 1.0, 40.0)
    scores = gallery_scores(parts, images, IMAGE_OF_CAPTION, gallery_size=30, draws=4)
    choice = choose_weights(scores)
    assert not choice.overfitted
    assert sum(choice.weights) == pytest.approx(1)
    assert choice.weights[2] < 0.1 < min(choice.weights[:2]), "two different views, and one of noise"
    assert choice.held_out_mrr > choice.equal_mrr
    assert choice.held_out_mrr > choice.best_alone_mrr
    assert choice.worth_it


def test_a_part_adds_what_the_ensemble_would_lose_without_it():
    parts, images = parts_of(1.0, 1.0, 40.0, 1.5)

    def score(oof: OutOfFold) -> float:
        return gallery_mrr(oof.predictions, images, IMAGE_OF_CAPTION, gallery_size=30, groups=oof.fold_of_image).mrr

    weights = [1 / 3, 1 / 3, 1 / 3, 0.0]
    first, second, noise, unused = contributions(parts, weights, score)
    assert min(first["adds"], second["adds"]) > 0 > noise["adds"]
    assert first["alone"] == pytest.approx(score(parts[0]))
    assert unused["alone"] == pytest.approx(score(parts[3]))
    assert unused["adds"] == 0
    whole, without = (combine_out_of_fold(parts, some) for some in (weights, [0.0, *weights[1:]]))
    assert first["adds"] == pytest.approx(score(whole) - score(without))


def test_weights_that_do_not_hold_on_held_out_images_are_equal_ones():
    """Views of the same quality: what one half of the images prefers is chance."""
    parts, images = parts_of(1.6, 1.6, 1.6, 1.6, 1.6)
    choices = [
        choose_weights(gallery_scores(parts, images, IMAGE_OF_CAPTION, gallery_size=30, seed=s)) for s in range(4)
    ]
    overfitted = [choice for choice in choices if choice.overfitted]
    assert overfitted
    for choice in overfitted:
        assert choice.held_out_mrr <= choice.equal_mrr
        assert choice.weights == pytest.approx([0.2] * 5)


def test_a_good_run_that_others_only_spoil_is_told():
    parts, images = parts_of(0.3, 60.0)
    choice = choose_weights(gallery_scores(parts, images, IMAGE_OF_CAPTION, gallery_size=30))
    assert not choice.worth_it


def test_runs_of_crossed_folds_are_refused_where_galleries_would_shrink():
    parts, _ = parts_of(1.0, 1.2)
    crossed = OutOfFold(parts[1].predictions, parts[1].covered, np.arange(IMAGES) // 2 % 2)
    refuse_crossed_folds([parts[0], parts[1]], IMAGE_OF_CAPTION, gallery_size=50)
    refuse_crossed_folds([parts[0], crossed], IMAGE_OF_CAPTION, gallery_size=20)
    with pytest.raises(DataError, match=r"galleries of 30 images only, which flatters it \(by themselves: 50\)"):
        refuse_crossed_folds([parts[0], crossed], IMAGE_OF_CAPTION, gallery_size=50)


def test_twins_are_refused_whatever_their_lengths():
    parts, _ = parts_of(1.0, 1.2)
    longer = OutOfFold(3 * parts[0].predictions, parts[0].covered, parts[0].fold_of_image)
    refuse_twins(["a", "b"], parts)
    with pytest.raises(DuplicateError, match="c and a hold the same predictions"):
        refuse_twins(["a", "b", "c"], [*parts, longer])
