"""Play the competition on one's own training data: hide some images and ask for them."""

from __future__ import annotations

import numpy as np

from kaggle_kit.embeddings.folds import group_images
from kaggle_kit.embeddings.pairs import Pairs, TestCaptions
from kaggle_kit.errors import UsageError


def hide_images(pairs: Pairs, count: int, seed: int = 0) -> tuple[Pairs, TestCaptions, np.ndarray]:
    """Set ``count`` images aside as a test, one caption each.

    Neither the hidden images, nor copies of them, nor any of their captions stay in the training part. No two hidden
    images are copies of one another: that would leave no right answer.

    Args:
        pairs: the training data.
        count: images to hide.
        seed: another seed, other images: seeds 0, 1, … hide disjoint sets until all images were hidden once, then begin
            with another shuffle.

    Returns:
        The training part, the test captions with ids from 1, and the answers (count, d_image) float32 in id order.

    Raises:
        UsageError: fewer than two images would be left, or ``count`` is below 1.
    """
    groups = group_images(pairs.images)
    candidates = np.unique(groups[np.unique(pairs.image_of_caption[pairs.is_own[pairs.image_of_caption]])])
    if not 0 < count <= len(candidates) - 2:
        raise UsageError(
            f"cannot hide {count} of {len(candidates)} different images with captions",
            f"choose a number from 1 to {max(1, len(candidates) - 2)}",
        )
    draws_of_a_shuffle = len(candidates) // count
    rng = np.random.default_rng(seed // draws_of_a_shuffle)
    first = seed % draws_of_a_shuffle * count
    hidden_groups = rng.permutation(candidates)[first : first + count]
    rows = _one_caption_each(pairs, groups, hidden_groups, rng)
    test = TestCaptions(np.arange(1, count + 1), pairs.text[rows], pairs.captions[rows], pairs.file)
    train = pairs.take_images(~np.isin(groups, hidden_groups))
    return train, test, pairs.images[pairs.image_of_caption[rows]]


def _one_caption_each(
    pairs: Pairs, groups: np.ndarray, hidden_groups: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """A random caption of an own image of each hidden group, int64 rows in the groups' order."""
    own = pairs.is_own[pairs.image_of_caption]
    rows = rng.permutation(np.flatnonzero(own))
    first_group, first_row = np.unique(groups[pairs.image_of_caption[rows]], return_index=True)
    return rows[first_row[np.searchsorted(first_group, hidden_groups)]]
