"""Every figure of a verification against a loop that anybody can read."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from made_evidence import gallery_of, make_evidence, scores_of
from small_training import make_pairs

from kaggle_kit.analysis import verification
from kaggle_kit.analysis.evidence import caption_numbers, gather_evidence, random_others, rank_galleries
from kaggle_kit.training.crossvalidation import OutOfFold


def test_rankings_are_those_of_a_sort(evidence, rankings):
    for row in range(len(evidence)):
        scores, own = scores_of(evidence, row), int(evidence.image[row])
        order = sorted(scores, key=lambda image: -scores[image])
        assert rankings.rank[row] == order.index(own) + 1
        assert rankings.gallery[row] == len(order)
        assert rankings.top[row].tolist() == order[:4]
        assert rankings.top_cosine[row] == pytest.approx([scores[image] for image in order[:4]], abs=1e-6)
        rival = next(image for image in order if image != own)
        assert (rankings.rival[row], rankings.cosine[row]) == (rival, pytest.approx(scores[own], abs=1e-6))
        assert rankings.margin[row] == pytest.approx(scores[own] - scores[rival], abs=1e-6)


def test_rankings_in_small_blocks_are_the_same(evidence, rankings, monkeypatch):
    monkeypatch.setattr("kaggle_kit.analysis.evidence.BLOCK_ROWS", 5)
    small = rank_galleries(evidence, neighbours=4)
    assert np.array_equal(small.rank, rankings.rank)
    assert np.array_equal(small.top, rankings.top)


def test_random_others_are_of_the_gallery_seeded_and_never_the_own_image(evidence):
    drawn = [random_others(evidence, seed) for seed in range(30)]
    for others in drawn:
        assert all(others[row] in gallery_of(evidence, row) for row in range(len(evidence)))
        assert not (others == evidence.image).any()
    assert np.array_equal(drawn[0], random_others(evidence, 0))
    assert not np.array_equal(drawn[0], drawn[1])
    assert {int(others[0]) for others in drawn} == set(gallery_of(evidence, 0)) - {0}


def test_distances_are_those_of_a_loop(evidence, others):
    measures = {
        "euclidean": lambda a, b: math.sqrt(sum((x - y) ** 2 for x, y in zip(a, b, strict=True))),
        "manhattan": lambda a, b: sum(abs(x - y) for x, y in zip(a, b, strict=True)),
        "cosine": lambda a, b: 1 - sum(x * y for x, y in zip(a, b, strict=True)),
    }
    for found in verification.distances(evidence, others):
        measure = measures[found.name]
        true, random = [], []
        for row in range(len(evidence)):
            prediction = evidence.predictions[row].astype(float).tolist()
            true.append(measure(prediction, evidence.images[evidence.image[row]].astype(float).tolist()))
            random.append(measure(prediction, evidence.images[others[row]].astype(float).tolist()))
        each = [100 * (b - a) / b for a, b in zip(true, random, strict=True)]
        assert (found.true, found.true_std) == pytest.approx((np.mean(true), np.std(true)), abs=1e-5)
        assert (found.random, found.random_std) == pytest.approx((np.mean(random), np.std(random)), abs=1e-5)
        assert found.improvement == pytest.approx(100 * (1 - np.mean(true) / np.mean(random)), abs=1e-3)
        assert (found.each, found.each_std) == pytest.approx((np.mean(each), np.std(each)), rel=1e-3)
        assert found.nearer == sum(a < b for a, b in zip(true, random, strict=True)) / len(true)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 20])
def test_expected_reciprocal_rank_is_the_mean_over_all_galleries(size):
    total = 7
    for rank in range(1, total + 1):
        # image 0 is the right one, images 1 … rank - 1 beat it
        galleries = list(itertools.combinations(range(1, total), min(size, total) - 1))
        naive = np.mean([1 / (1 + sum(image < rank for image in others)) for others in galleries])
        found = verification.expected_reciprocal_rank(np.array([rank]), np.array([total]), size)
        assert found[0] == pytest.approx(naive, rel=1e-9)


def test_error_of_a_mean_counts_an_image_once():
    values, image = np.array([1.0, 1.0, 0.0, 0.0]), np.array([0, 0, 1, 1])
    _, error = verification.mean_by_image(values, image)
    assert error == pytest.approx(0.5)  # two draws, 1 and 0: their deviation 0.707 over the root of 2
    assert math.isnan(verification.mean_by_image(values[:2], image[:2])[1])


def naive_slice(evidence, rankings, rows, size):
    values = [
        verification.expected_reciprocal_rank(rankings.rank[[row]], rankings.gallery[[row]], size)[0] for row in rows
    ]
    return np.mean(values), np.median([rankings.rank[row] for row in rows])


def check_slices(evidence, rankings, slices, part_of):
    """Each slice holds exactly the captions of its part, and has their mean."""
    everything = naive_slice(evidence, rankings, range(len(evidence)), 5)[0]
    assert sum(one.captions for one in slices) == len(evidence)
    for one in slices:
        rows = [row for row in range(len(evidence)) if part_of(row, one.name)]
        assert one.captions == len(rows)
        assert one.images == len({int(evidence.image[row]) for row in rows})
        mean, median = naive_slice(evidence, rankings, rows, 5)
        assert (one.mrr, one.median_rank) == pytest.approx((mean, median))
        assert one.difference == pytest.approx(mean - everything)


def test_slices_by_length_hold_the_captions_of_their_lengths(evidence, rankings):
    def inside(row, name):
        bounds = [int(word) for word in name.split() if word.isdigit()]
        return bounds[0] <= len(evidence.captions[row].split()) <= bounds[-1]

    found = verification.by_length(evidence, rankings, gallery_size=5)
    assert [one.name for one in found] == ["2 words", "3 words", "7 words", "10 words"]
    check_slices(evidence, rankings, found, inside)


def test_slices_by_number_and_by_fold(evidence, rankings):
    numbers = verification.by_number(evidence, rankings, gallery_size=5)
    assert [one.name for one in numbers] == [f"caption {number}" for number in (1, 2, 3, 4)]
    check_slices(evidence, rankings, numbers, lambda row, name: row % 4 + 1 == int(name.split()[1]))
    folds = verification.by_fold(evidence, rankings, gallery_size=5)
    assert len(folds) == 3
    check_slices(evidence, rankings, folds, lambda row, name: row // 4 % 3 + 1 == int(name.split()[1]))


def test_caption_numbers_follow_the_file_even_when_captions_are_mixed():
    assert caption_numbers(np.array([4, 2, 4, 2, 4, 0])).tolist() == [1, 1, 2, 2, 3, 1]


def test_domains_are_found_named_and_the_most_distant_comes_first(evidence, rankings):
    text = np.zeros((len(evidence), 5), np.float32)
    kinds = np.arange(len(evidence)) % 4
    text[np.arange(len(evidence)), kinds] = 1
    text[kinds == 3] = [-1, -1, -1, 0.1, 0]
    found = verification.by_domain(make_evidence_like(evidence, text), rankings, gallery_size=5, domains=4, seed=0)
    assert "camels" in " ".join(one.name for one in found)
    assert "mountain" in found[0].name or "snow" in found[0].name or "falls" in found[0].name
    assert [one.distance for one in found] == sorted((one.distance for one in found), reverse=True)
    rows = text / np.linalg.norm(text, axis=1, keepdims=True)
    inside, rest = rows[kinds == 3].mean(0), rows[kinds != 3].mean(0)
    naive = 1 - inside @ rest / np.linalg.norm(inside) / np.linalg.norm(rest)
    assert found[0].distance == pytest.approx(naive, abs=1e-5)
    assert sum(one.captions for one in found) == len(evidence)


def make_evidence_like(evidence, text):
    return type(evidence)(**{**vars(evidence), "text": text})


def test_one_domain_for_captions_that_are_all_alike(evidence, rankings):
    alike = make_evidence_like(evidence, np.ones_like(evidence.text))
    (only,) = verification.by_domain(alike, rankings, gallery_size=5, domains=6, seed=0)
    assert (only.captions, only.distance) == (len(evidence), 0.0)


def test_hubs_are_the_k_occurrences_of_a_loop(evidence, rankings):
    times, own = dict.fromkeys(range(24), 0), dict.fromkeys(range(24), 0)
    for row in range(len(evidence)):
        scores = scores_of(evidence, row)
        for image in sorted(scores, key=lambda image: -scores[image])[:4]:
            times[image] += 1
            own[image] += image == evidence.image[row]
    found = verification.hubs(evidence, rankings, most=3)
    assert [hub.times for hub in found.top] == sorted(times.values(), reverse=True)[:3]
    for hub in found.top:
        image = int(hub.image.removesuffix(".jpg"))
        assert (hub.times, hub.own, hub.captions) == (times[image], own[image], 4)
    values = np.array(list(times.values()))
    assert found.mean == pytest.approx(values.mean())
    assert found.skewness == pytest.approx(np.mean((values - values.mean()) ** 3) / np.std(values) ** 3)
    assert found.never == sum(value == 0 for value in times.values())


def test_confusion_counts_errors_whose_winner_looks_like_the_right_image(evidence, rankings, others):
    errors, alike, pairs = 0, 0, {}
    for row in range(len(evidence)):
        scores, own = scores_of(evidence, row), int(evidence.image[row])
        winner = max(scores, key=lambda image: scores[image])
        if winner != own:
            errors += 1
            if float(evidence.images[own] @ evidence.images[winner]) >= 0.5:
                alike += 1
                pairs[f"{own}.jpg", f"{winner}.jpg"] = pairs.get((f"{own}.jpg", f"{winner}.jpg"), 0) + 1
    found = verification.confusion(evidence, rankings, others, threshold=0.5, most=99)
    assert alike > 0
    assert (found.errors, found.lookalikes, found.share) == (errors, alike, alike / errors)
    assert {(pair.image, pair.winner): pair.times for pair in found.pairs} == pairs
    cosines = [float(evidence.images[a] @ evidence.images[b]) for a, b in zip(evidence.image, others, strict=True)]
    assert found.chance == pytest.approx(np.mean([cosine >= 0.5 for cosine in cosines]))


def test_best_and_worst_are_of_different_images_and_show_the_right_one(evidence, rankings):
    best, worst = verification.best_and_worst(evidence, rankings, 5)
    assert [case.rank for case in best] == sorted(case.rank for case in best)
    assert worst[0].rank == rankings.rank.max()
    assert best[0].margin == pytest.approx(rankings.margin[rankings.rank == 1].max())
    for cases in (best, worst):
        assert len({case.image for case in cases}) == 5
        for case in cases:
            (right,) = [place for place in case.retrieved if place.right]
            assert (right.image, right.rank) == (case.image, case.rank)


def test_gallery_sizes_are_the_means_over_captions_and_end_in_the_whole_fold():
    evidence = make_evidence(images=60, folds=2)
    rankings = rank_galleries(evidence, neighbours=4)
    found = verification.gallery_sizes(evidence, rankings)
    assert [(one.size, one.whole) for one in found] == [(10, False), (20, False), (30, True)]
    assert found[-1].mrr == pytest.approx(np.mean(1 / rankings.rank))
    assert found[0].mrr == pytest.approx(naive_slice(evidence, rankings, range(len(evidence)), 10)[0])
    assert found[0].chance == pytest.approx(sum(1 / rank for rank in range(1, 11)) / 10)


def test_one_image_a_fold_leaves_nothing_to_compare_with():
    evidence = make_evidence(images=3, folds=3)
    rankings, others = rank_galleries(evidence, neighbours=4), random_others(evidence, 0)
    assert (rankings.rank == 1).all()
    assert (rankings.rival == -1).all()
    assert (others == -1).all()
    assert verification.distances(evidence, others) == ()
    best, _ = verification.best_and_worst(evidence, rankings, 2)
    assert best[0].margin is None
    found = verification.confusion(evidence, rankings, others, threshold=0.9, most=5)
    assert (found.errors, found.share, found.chance) == (0, 0.0, 0.0)


def test_evidence_holds_the_covered_captions_and_their_images_only():
    pairs = make_pairs(images=6, captions=2)
    covered = np.repeat([True, False, True, True, False, True], 2)
    predictions = make_evidence(images=6, captions=2, dimensions=12).predictions
    import torch

    oof = OutOfFold(torch.from_numpy(predictions), covered, np.array([0, -1, 1, 0, -1, 1]))
    found = gather_evidence(oof, pairs)
    assert found.rows.tolist() == [0, 1, 4, 5, 6, 7, 10, 11]
    assert found.names.tolist() == ["0.jpg", "2.jpg", "3.jpg", "5.jpg"]
    assert found.image.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found.fold.tolist() == [0, 1, 0, 1]
    assert found.images[1] == pytest.approx(pairs.images[2] / np.linalg.norm(pairs.images[2]), abs=1e-6)
