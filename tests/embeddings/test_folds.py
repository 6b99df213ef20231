"""Folds are of images, seeded, whole, and remembered by their digest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_kit.embeddings import (
    Folds,
    Pairs,
    find_leaks,
    fold_pairs,
    group_images,
    make_folds,
    split_pairs,
    sum_leaks,
)
from kaggle_kit.embeddings.leaks import split_leaks
from kaggle_kit.embeddings.lookalikes import Lookalikes
from kaggle_kit.embeddings.neighbours import near_copy_pairs
from kaggle_kit.errors import ConfigError, DataError, MissingError
from kaggle_kit.settings import FoldSettings


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 19), min_size=1, max_size=80), st.integers(2, 6), st.integers(0, 5))
def test_folds_never_share_an_image_and_hold_every_caption_out_once(index: list[int], count: int, seed: int) -> None:
    image_of_caption = np.array([*index, *range(6)])
    folds = make_folds(image_of_caption, 20, FoldSettings(count=count, seed=seed))
    held_out = []
    for fold in range(count):
        train, validation = folds.split(fold, image_of_caption)
        assert not set(image_of_caption[train]) & set(image_of_caption[validation])
        assert len(train) + len(validation) == len(image_of_caption)
        held_out += validation.tolist()
    assert sorted(held_out) == list(range(len(image_of_caption)))


def test_folds_have_equal_numbers_of_captioned_images() -> None:
    index = np.repeat(np.arange(0, 100, 2), 3)  # every other image has captions
    folds = make_folds(index, 100, FoldSettings(count=5))
    assert np.bincount(folds.fold_of_image[::2]).tolist() == [10] * 5
    assert np.bincount(folds.fold_of_image).tolist() == [20] * 5


def test_the_same_seed_gives_the_same_folds_and_another_seed_others(pairs: Pairs) -> None:
    one, same, other = (fold_pairs(pairs, FoldSettings(seed=seed)) for seed in (3, 3, 4))
    assert one.digest == same.digest
    assert one.digest != other.digest
    assert (one.count, one.seed) == (5, 3)


def test_a_single_holdout_holds_its_share_out_and_never_the_rest(pairs: Pairs) -> None:
    folds = fold_pairs(pairs, FoldSettings(count=1, holdout=0.1))
    assert np.count_nonzero(folds.fold_of_image == 0) == 4
    assert np.count_nonzero(folds.fold_of_image == -1) == 36
    train, validation = folds.split(0, pairs.image_of_caption)
    assert (len(train), len(validation)) == (180, 20)
    assert folds.images_of(0).tolist() == np.unique(pairs.image_of_caption[validation]).tolist()


def test_copies_of_an_image_stay_on_one_side(pairs: Pairs) -> None:
    images = pairs.images.copy()
    images[20:40] = images[:20]
    copied = replace(pairs, images=images)
    assert group_images(images).tolist() == [*range(20), *range(20)]
    for seed in range(5):
        folds = fold_pairs(copied, FoldSettings(seed=seed))
        assert (folds.fold_of_image[:20] == folds.fold_of_image[20:]).all()
        assert split_leaks(copied, folds, 0).equal_images == 0


def test_images_from_elsewhere_are_never_held_out_but_follow_their_copies(pairs: Pairs) -> None:
    images = pairs.images.copy()
    images[39] = images[0]
    folds = fold_pairs(replace(pairs, images=images, own_images=30))
    assert (folds.fold_of_image[30:39] == -1).all()
    assert (folds.fold_of_image[:30] >= 0).all()
    assert folds.fold_of_image[39] == folds.fold_of_image[0]


def test_captions_of_weight_0_are_validated_on_and_not_trained_on(pairs: Pairs) -> None:
    weight = np.ones(200, np.float32)
    weight[::5] = 0
    weighted = replace(pairs, weight=weight, own_images=30)
    folds = fold_pairs(weighted)
    train, validation = split_pairs(weighted, folds, 2)
    assert (weight[train] > 0).all()
    assert (weight[validation] == 0).any()
    assert (pairs.image_of_caption[validation] < 30).all()
    assert (pairs.image_of_caption[train] >= 30).any()


def test_folds_survive_saving(tmp_path: Path, pairs: Pairs) -> None:
    folds = fold_pairs(pairs, FoldSettings(count=4, seed=7))
    folds.save(tmp_path)
    loaded = Folds.load(tmp_path)
    np.testing.assert_array_equal(loaded.fold_of_image, folds.fold_of_image)
    assert (loaded.digest, loaded.count, loaded.seed, loaded.holdout) == (folds.digest, 4, 7, 0.1)
    assert loaded.fold_of_image.dtype == np.int16


@pytest.mark.parametrize("damage", ["flip", "truncate", "other", "no json field"])
def test_saved_folds_that_were_changed_are_refused(tmp_path: Path, pairs: Pairs, damage: str) -> None:
    folds = fold_pairs(pairs)
    folds.save(tmp_path)
    file = tmp_path / "folds.npy"
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    elif damage == "truncate":
        file.write_bytes(content[:100])
    elif damage == "other":
        file.write_bytes(b"not an array")
    else:
        (tmp_path / "folds.json").write_text("{}")
    with pytest.raises(DataError, match=r"folds\.npy is not what folds\.json describes"):
        Folds.load(tmp_path)


def test_folds_that_were_never_saved_are_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no such file: .*folds\.json"):
        Folds.load(tmp_path)


def test_more_folds_than_images_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"folds\.count: 5 folds need as many images; there are 3"):
        make_folds(np.array([0, 1, 2, 2]), 3, FoldSettings(count=5))


def test_a_holdout_of_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"folds\.holdout: 0\.99 of 3 images cannot be held out"):
        make_folds(np.array([0, 1, 2]), 3, FoldSettings(count=1, holdout=0.99))


def test_a_fold_that_does_not_exist_is_an_error_of_the_caller(pairs: Pairs) -> None:
    with pytest.raises(ValueError, match=r"fold 5 of 5"):
        fold_pairs(pairs).split(5, pairs.image_of_caption)


def test_leaks_of_a_split_are_counted(pairs: Pairs) -> None:
    images, captions = pairs.images.copy(), pairs.captions.copy()
    folds = fold_pairs(pairs)  # made before the copies appear, so that they may lie on both sides
    inside, outside = folds.images_of(0)[:3], np.flatnonzero(folds.fold_of_image == 1)[:3]
    images[inside[0]] = images[outside[0]]
    images[inside[1]] = images[outside[1]] * 1.0001
    validation, train = (np.flatnonzero(pairs.image_of_caption == image)[0] for image in (inside[2], outside[2]))
    captions[validation], captions[train] = "A Dog  runs .", "a dog runs"
    leaks = split_leaks(replace(pairs, images=images, captions=captions), folds, 0)
    assert (leaks.shared_images, leaks.equal_captions, leaks.equal_images, leaks.near_images) == (0, 1, 1, 1)
    assert leaks.leaks
    assert not split_leaks(pairs, folds, 0).leaks


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("A dog runs .", " a DOG  runs"),
        ("caf\u00e9 at night", "cafe\u0301 at night"),
        ("a \ufb01sh", "a fish"),
        ("STRASSE", "Stra\u00dfe\u2026"),
    ],
)
def test_look_alikes_stay_on_one_side(pairs: Pairs, one: str, other: str) -> None:
    """Near copies and images with an equal caption are never parted, whatever the seed."""
    images = pairs.images.copy()
    images[7] = images[3] * 2.5  # the same direction: one picture
    captions = pairs.captions.copy()
    first, second = (np.flatnonzero(pairs.image_of_caption == image)[0] for image in (1, 9))
    captions[first], captions[second] = one, other
    alike = replace(pairs, images=images, captions=captions)
    for seed in range(8):
        folds = fold_pairs(alike, FoldSettings(count=4, seed=seed))
        assert folds.fold_of_image[3] == folds.fold_of_image[7]
        assert folds.fold_of_image[1] == folds.fold_of_image[9]
        assert not any(split_leaks(alike, folds, fold).leaks for fold in range(4))


def test_a_split_that_would_leak_is_refused_and_can_be_forced(pairs: Pairs) -> None:
    same = replace(pairs, captions=np.full(len(pairs), "a photo"))
    with pytest.raises(DataError, match="are joined by near copies or equal captions") as caught:
        fold_pairs(same)
    assert "folds.leaks=warn" in caught.value.hint
    for forced in (
        fold_pairs(same, FoldSettings(group="images")),
        fold_pairs(same, FoldSettings(leaks="warn")),
    ):
        leaks = split_leaks(same, forced, 0)
        assert leaks.equal_captions == np.count_nonzero(forced.fold_of_image == 0) * 5
        assert leaks.leaks


def test_what_leaks_is_named_fold_by_fold_and_summed(pairs: Pairs) -> None:
    """Against a naive loop over all pairs of captions."""
    rng = np.random.default_rng(2)
    captions, images = pairs.captions.copy(), pairs.images.copy()
    captions[rng.integers(0, len(pairs), 30)] = "A dog runs."
    captions[rng.integers(0, len(pairs), 10)] = ""
    images[10:13] = images[20:23]
    alike = replace(pairs, captions=captions, images=images, weight=(np.arange(len(pairs)) % 3 > 0).astype(np.float32))
    folds = fold_pairs(pairs, FoldSettings(seed=1))
    leaks = find_leaks(alike, folds)
    image = pairs.image_of_caption
    for one in leaks:
        train, validation = split_pairs(alike, folds, one.fold)
        words = {captions[row] for row in train if captions[row]}
        assert one.equal_captions == sum(captions[row] in words for row in validation)
        trained = {images[image[row]].tobytes() for row in train}
        held_out = {int(image[row]) for row in validation}
        assert one.equal_images == sum(images[row].tobytes() in trained for row in held_out)
    total = sum_leaks(leaks)
    assert total["equal_captions"] == sum(one.equal_captions for one in leaks) > 0
    assert total["folds"] == [one.fold for one in leaks if one.leaks]
    assert any("'A dog runs.' is said of" in text for text in total["examples"])


def test_chains_of_near_copies_stay_together_in_a_crowd() -> None:
    # sixty pictures on one side of the last one, one on the other: two degrees from it, cosine 0.9994, four from each other, 0.9976
    angles = np.radians([*np.linspace(-2.1, -2.0, 60), 2.0, 0.0])
    crowd = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    links = near_copy_pairs(crowd, 0.999)
    groups = Lookalikes(links, np.full(62, -1)).groups(np.arange(62), 62)
    assert set(groups) == {0}
    assert len(set(zip(*links, strict=True))) == len(links[0])


def test_copies_are_found_in_a_crowd_where_everything_looks_almost_alike(pairs: Pairs) -> None:
    """A common direction makes every image a candidate; the true copies must not be lost among them."""
    rng = np.random.default_rng(0)
    crowd = 1 + 0.045 * rng.standard_normal((300, 64)).astype(np.float32)  # cosines near 0.998
    crowd[200:250] = crowd[:50]
    earlier, later = near_copy_pairs(crowd, 0.999)
    assert {(row, row + 200) for row in range(50)} <= set(zip(earlier.tolist(), later.tolist(), strict=True))
    unit = crowd.astype(np.float64) / np.linalg.norm(crowd.astype(np.float64), axis=1, keepdims=True)
    assert len(earlier) == np.count_nonzero(np.triu(unit @ unit.T >= 0.999 - 2e-6, 1))


def test_captions_without_text_join_nothing(pairs: Pairs) -> None:
    silent = replace(pairs, captions=np.full(len(pairs), ""))
    assert len(np.unique(fold_pairs(silent).fold_of_image)) == 5
