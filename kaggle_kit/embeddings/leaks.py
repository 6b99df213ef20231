"""What validation captions and training captions have in common, beyond the image, which they never share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kaggle_kit.embeddings.folds import Folds
from kaggle_kit.embeddings.lookalikes import NEAR_COPY, normalise_caption
from kaggle_kit.embeddings.neighbours import find_near_copies
from kaggle_kit.embeddings.pairs import Pairs


@dataclass(frozen=True)
class SplitLeaks:
    """What one fold's two sides share.

    Attributes:
        fold: the fold held out.
        shared_images: images with captions on both sides; 0 by construction.
        equal_captions: validation captions whose text (case and spaces aside) stands in training too.
        equal_images: validation images with an exact copy in training; 0 where copies were grouped.
        near_images: validation images with a near copy (cosine of 0.999 or more) in training.
    """

    fold: int
    shared_images: int
    equal_captions: int
    equal_images: int
    near_images: int

    @property
    def leaks(self) -> bool:
        """Whether a picture or a caption stands on both sides."""
        return bool(self.shared_images or self.equal_images or self.near_images or self.equal_captions)


def split_leaks(pairs: Pairs, folds: Folds, fold: int, *, near_copy: float = NEAR_COPY) -> SplitLeaks:
    """Count what the training and validation sides of ``fold`` share."""
    train, validation = folds.split(fold, pairs.image_of_caption)
    train_images, validation_images = (np.unique(pairs.image_of_caption[rows]) for rows in (train, validation))
    seen = {row.tobytes() for row in pairs.images[train_images]}
    equal = np.array([row.tobytes() in seen for row in pairs.images[validation_images]], dtype=bool)
    near = find_near_copies(pairs.images[validation_images], pairs.images[train_images], near_copy)
    known = {normalise_caption(text) for text in pairs.captions[train].tolist()}
    return SplitLeaks(
        fold=fold,
        shared_images=len(np.intersect1d(train_images, validation_images)),
        equal_captions=sum(normalise_caption(text) in known for text in pairs.captions[validation].tolist()),
        equal_images=int(np.count_nonzero(equal)),
        near_images=int(np.count_nonzero(near & ~equal)),
    )
