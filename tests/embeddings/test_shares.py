"""A share of the training images: random, seeded, nested; validation stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kaggle_kit.embeddings import Pairs, apply_data_settings, fold_pairs, split_pairs
from kaggle_kit.errors import ConfigError, DataError
from kaggle_kit.settings import DataSettings
from tests.small_training import make_pairs


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 1), st.floats(0.1, 1), st.integers(0, 3), st.integers(0, 4))
def test_shares_nest_and_leave_validation_alone(one: float, other: float, seed: int, fold: int) -> None:
    pairs = make_pairs()
    folds = fold_pairs(pairs)
    whole, held_out = split_pairs(pairs, folds, fold)
    images = {}
    for share in sorted((one, other)):
        train, validation = split_pairs(replace(pairs, share=share, share_seed=seed), folds, fold)
        np.testing.assert_array_equal(validation, held_out)
        images[share] = set(pairs.image_of_caption[train])
        assert len(images[share]) == round(share * len(set(pairs.image_of_caption[whole])))
        kept = np.isin(pairs.image_of_caption[whole], list(images[share]))
        np.testing.assert_array_equal(train, whole[kept], err_msg="all captions of a chosen image are trained on")
    assert images[min(one, other)] <= images[max(one, other)]


def test_another_seed_chooses_other_images(pairs: Pairs) -> None:
    folds = fold_pairs(pairs)
    chosen = [
        split_pairs(apply_data_settings(pairs, DataSettings(share=0.5, share_seed=seed))[0], folds, 0)[0].tolist()
        for seed in (0, 0, 1)
    ]
    assert chosen[0] == chosen[1] != chosen[2]


def test_a_share_of_next_to_nothing_is_refused(pairs: Pairs) -> None:
    few = replace(pairs, share=0.02)
    with pytest.raises(DataError, match=r"data\.share=0\.02 of 32 training images leaves 1 to train on"):
        split_pairs(few, fold_pairs(pairs), 0)
    with pytest.raises(ConfigError, match="share: must be above 0 and at most 1, not 0"):
        DataSettings(share=0.0)
