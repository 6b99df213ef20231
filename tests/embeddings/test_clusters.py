"""Folds by text clusters: each cluster whole on one side, sizes fair, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from kaggle_kit.embeddings import DataFile, Pairs, find_leaks, fold_pairs, split_pairs
from kaggle_kit.errors import ConfigError, DataError
from kaggle_kit.metrics import gallery_reciprocal_ranks
from kaggle_kit.settings import FoldSettings

BY_TEXT = FoldSettings(by="text_clusters", count=3)


def topics(*sizes: int, spread: float = 0.05, each: int = 3) -> tuple[Pairs, np.ndarray]:
    """Images of so many topics, each topic a direction of text embeddings; and the topic of each image."""
    rng = np.random.default_rng(1)
    topic = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    image_of_caption = np.repeat(np.arange(len(topic)), each).astype(np.int32)
    text = np.eye(8)[topic[image_of_caption]] + spread * rng.standard_normal((len(image_of_caption), 8))
    pairs = Pairs(
        text=(text * rng.uniform(0.5, 3, (len(text), 1))).astype(np.float32),
        images=rng.standard_normal((len(topic), 6), dtype=np.float32),
        image_of_caption=image_of_caption,
        caption_ids=np.arange(len(text)),
        captions=np.array([f"caption {row}" for row in range(len(text))]),
        image_names=np.array([f"{row}.jpg" for row in range(len(topic))]),
        file=DataFile(Path("train.npz"), 1, "0" * 64),
    )
    return pairs, topic


def test_each_topic_is_held_out_whole() -> None:
    pairs, topic = topics(20, 30, 40)
    folds = fold_pairs(pairs, BY_TEXT)
    assert sorted(np.bincount(folds.fold_of_image)) == [20, 30, 40]
    for fold in range(3):
        train, validation = split_pairs(pairs, folds, fold)
        held_out = set(topic[pairs.image_of_caption[validation]])
        assert len(held_out) == 1
        assert not held_out & set(topic[pairs.image_of_caption[train]])


def test_many_topics_are_packed_whole_into_folds_of_fair_size() -> None:
    """Two folds cannot hold five topics of unequal size by two clusters: several clusters make a fold."""
    pairs, topic = topics(40, 12, 12, 12, 12, spread=0.01)
    folds = fold_pairs(pairs, FoldSettings(by="text_clusters", count=2))
    for number in range(5):
        assert len(set(folds.fold_of_image[topic == number])) == 1
    assert np.bincount(folds.fold_of_image).min() >= 22


def test_the_split_is_seeded_and_finds_the_topics_whatever_the_seed() -> None:
    pairs, topic = topics(30, 30, 30)
    digests = [fold_pairs(pairs, replace(BY_TEXT, seed=seed)).digest for seed in (2, 2)]
    assert digests[0] == digests[1]
    for seed in range(3):
        assert adjusted_rand_score(topic, fold_pairs(pairs, replace(BY_TEXT, seed=seed)).fold_of_image) == 1


def test_look_alikes_stay_together_across_topics() -> None:
    pairs, topic = topics(30, 30, 30)
    one, other = np.flatnonzero(topic == 0)[0], np.flatnonzero(topic == 1)[0]
    images, captions = pairs.images.copy(), pairs.captions.copy()
    images[one] = images[other]
    captions[pairs.image_of_caption == np.flatnonzero(topic == 2)[0]] = captions[pairs.image_of_caption == one]
    alike = replace(pairs, images=images, captions=captions)
    folds = fold_pairs(alike, BY_TEXT)
    assert folds.fold_of_image[one] == folds.fold_of_image[other]
    assert not any(leaks.leaks for leaks in find_leaks(alike, folds))


def test_a_single_holdout_is_one_topic_of_about_that_size() -> None:
    pairs, topic = topics(15, 15, 15, 15)
    folds = fold_pairs(pairs, FoldSettings(by="text_clusters", count=1, holdout=0.25))
    assert np.bincount(folds.fold_of_image + 1).tolist() == [45, 15]
    assert len(set(topic[folds.images_of(0)])) == 1


def test_images_from_elsewhere_are_not_trained_on_while_their_topic_is_held_out() -> None:
    pairs, topic = topics(30, 30, 30)
    mixed = replace(pairs, own_images=80)
    folds = fold_pairs(mixed, BY_TEXT)
    for fold in range(3):
        train, validation = split_pairs(mixed, folds, fold)
        assert not set(topic[pairs.image_of_caption[validation]]) & set(topic[pairs.image_of_caption[train]])
        assert (pairs.image_of_caption[validation] < 80).all()


def test_captions_that_are_all_alike_make_no_clusters() -> None:
    pairs, _ = topics(60)
    same = replace(pairs, text=np.ones_like(pairs.text))
    with pytest.raises(DataError, match=r"no text clusters of fair sizes: the largest of 3 holds 60 of 60 images"):
        fold_pairs(same, BY_TEXT)
    with pytest.raises(ConfigError, match=r"folds\.count: 5 folds need as many images; there are 3"):
        fold_pairs(topics(3)[0], FoldSettings(by="text_clusters"))


def test_galleries_of_unequal_folds_deal_every_image_and_mix_no_folds() -> None:
    """Folds of 25, 40 and 55 images, galleries of 20: every image gets its turn, among images of its fold only."""
    import torch

    pairs, _ = topics(25, 40, 55)
    folds = fold_pairs(pairs, BY_TEXT).fold_of_image
    # each image's vector is its fold's axis: inside a fold all tie (the worst rank), a stranger would not
    axis = torch.eye(3)[torch.from_numpy(folds.astype(np.int64))]
    ranks = gallery_reciprocal_ranks(
        axis[torch.from_numpy(pairs.image_of_caption).long()], axis, pairs.image_of_caption, gallery_size=20, draws=20, groups=folds
    )  # fmt: skip
    np.testing.assert_allclose(ranks, np.full(120, 1 / 20))
