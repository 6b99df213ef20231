"""Hidden images are hidden altogether."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from kaggle_kit.embeddings import Pairs, hide_images
from kaggle_kit.errors import UsageError


def _rows(vectors: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in vectors}


def test_no_caption_and_no_vector_of_a_hidden_image_stays(pairs: Pairs) -> None:
    train, test, answers = hide_images(pairs, 12, seed=3)
    assert (len(train), len(train.images), len(test), answers.shape) == (140, 28, 12, (12, 12))
    assert not _rows(train.images) & _rows(answers)
    assert not set(train.captions) & set(test.captions)
    assert test.ids.tolist() == list(range(1, 13))
    assert train.image_of_caption.max() == 27


def test_each_caption_belongs_to_its_answer(pairs: Pairs) -> None:
    _, test, answers = hide_images(pairs, 12, seed=3)
    row_of = {row.tobytes(): index for index, row in enumerate(pairs.text)}
    rows = [row_of[row.tobytes()] for row in test.text]
    np.testing.assert_array_equal(pairs.images[pairs.image_of_caption[rows]], answers)
    np.testing.assert_array_equal(pairs.captions[rows], test.captions)


def test_the_training_part_keeps_each_caption_with_its_image(pairs: Pairs) -> None:
    train, _, _ = hide_images(pairs, 12)
    row_of = {row.tobytes(): index for index, row in enumerate(pairs.text)}
    rows = [row_of[row.tobytes()] for row in train.text]
    np.testing.assert_array_equal(train.images[train.image_of_caption], pairs.images[pairs.image_of_caption[rows]])
    np.testing.assert_array_equal(
        train.image_names[train.image_of_caption], pairs.image_names[pairs.image_of_caption[rows]]
    )


def test_copies_of_a_hidden_image_are_hidden_with_it_and_asked_for_once(pairs: Pairs) -> None:
    images = pairs.images.copy()
    images[20:] = images[:20]
    for seed in range(5):
        train, _, answers = hide_images(replace(pairs, images=images), 8, seed=seed)
        assert len(_rows(answers)) == 8
        assert not _rows(train.images) & _rows(answers)
        assert len(train.images) == 24


def test_images_without_captions_and_from_elsewhere_are_not_asked_for(pairs: Pairs) -> None:
    few = replace(pairs.take_captions(pairs.image_of_caption % 2 == 0), own_images=30)
    _, _, answers = hide_images(few, 13)
    assert _rows(answers) <= _rows(pairs.images[:30:2])


def test_the_seed_decides(pairs: Pairs) -> None:
    one, same, other = (hide_images(pairs, 5, seed=seed)[2] for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("count", [0, 39, 100])
def test_hiding_nothing_or_nearly_all_is_refused(pairs: Pairs, count: int) -> None:
    with pytest.raises(UsageError, match=rf"cannot hide {count} of 40 different images") as caught:
        hide_images(pairs, count)
    assert "from 1 to 38" in caught.value.hint


def test_draws_hide_disjoint_images_until_all_were_hidden_once(pairs: Pairs) -> None:
    hidden = [_rows(hide_images(pairs, 10, seed=seed)[2]) for seed in range(5)]
    assert set.union(*hidden[:4]) == _rows(pairs.images)
    assert hidden[4] not in hidden[:4]
