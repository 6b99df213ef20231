"""What validation captions and training captions have in common, beyond the image, which they never share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from kaggle_kit.embeddings.folds import Folds, group_images, split_pairs
from kaggle_kit.embeddings.lookalikes import NO_TEXT, Lookalikes, find_lookalikes
from kaggle_kit.embeddings.pairs import Pairs

EXAMPLES = 3
"""Examples of each kind that a fold's leaks name."""

LONGEST_TEXT = 60


@dataclass(frozen=True)
class SplitLeaks:
    """What one fold's two sides share.

    Attributes:
        fold: the fold held out.
        shared_images: images with captions on both sides; 0 by construction.
        equal_captions: validation captions whose text (case and spaces aside) stands in training too.
        equal_images: validation images with an exact copy in training.
        near_images: validation images with a near copy (cosine of 0.999 or more) in training, and no exact one.
        examples: the first of them in words: image names, caption texts.
    """

    fold: int
    shared_images: int
    equal_captions: int
    equal_images: int
    near_images: int
    examples: tuple[str, ...] = ()

    @property
    def leaks(self) -> bool:
        """Whether a picture or a caption stands on both sides."""
        return bool(self.shared_images or self.equal_images or self.near_images or self.equal_captions)


def split_leaks(pairs: Pairs, folds: Folds, fold: int, *, lookalikes: Lookalikes | None = None) -> SplitLeaks:
    """Count what the training and validation sides of ``fold`` share; captions that are not trained on do not count.

    Args:
        lookalikes: of these pairs, where they are known; looked for when None.
    """
    lookalikes = lookalikes or find_lookalikes(pairs)
    train, validation = split_pairs(pairs, folds, fold)
    trained, held_out = (_of_images(pairs, rows) for rows in (train, validation))
    shared = np.flatnonzero(trained & held_out)
    here, there, is_copy = _copies(pairs, lookalikes, trained, held_out)
    captions, twins = _equal_captions(lookalikes.text_of_caption, train, validation)
    name, image = pairs.image_names, pairs.image_of_caption
    return SplitLeaks(
        fold=fold,
        shared_images=len(shared),
        equal_captions=len(captions),
        equal_images=int(np.count_nonzero(is_copy)),
        near_images=int(np.count_nonzero(~is_copy)),
        examples=(
            *(f"{name[row]} stands on both sides" for row in shared[:EXAMPLES]),
            *(
                f"{name[a]} is {'a copy' if same else 'nearly a copy'} of {name[b]}"
                for a, b, same in list(zip(here, there, is_copy, strict=True))[:EXAMPLES]
            ),
            *(
                f"{_shortened(pairs.captions[a])} is said of {name[image[a]]} and of {name[image[b]]}"
                for a, b in list(zip(captions, twins, strict=True))[:EXAMPLES]
            ),
        ),
    )


def find_leaks(pairs: Pairs, folds: Folds, *, lookalikes: Lookalikes | None = None) -> list[SplitLeaks]:
    """:func:`split_leaks` of every fold; with ``lookalikes`` at hand this takes milliseconds."""
    lookalikes = lookalikes or find_lookalikes(pairs)
    return [split_leaks(pairs, folds, fold, lookalikes=lookalikes) for fold in range(folds.count)]


def sum_leaks(leaks: Sequence[SplitLeaks]) -> dict[str, Any]:
    """All folds' leaks together, as plain data for a record: counts by kind, the folds concerned, the first examples."""
    kinds = ("shared_images", "equal_images", "near_images", "equal_captions")
    found = [asdict(one) for one in leaks if one.leaks]
    examples = list(dict.fromkeys(text for one in found for text in one["examples"]))
    counts = {kind: sum(one[kind] for one in found) for kind in kinds}
    return {**counts, "folds": [one["fold"] for one in found], "examples": examples[: 2 * EXAMPLES]}


def _of_images(pairs: Pairs, captions: np.ndarray) -> np.ndarray:
    """Which images the captions are of, (images,) bool."""
    found = np.zeros(len(pairs.images), bool)
    found[pairs.image_of_caption[captions]] = True
    return found


def _copies(
    pairs: Pairs, lookalikes: Lookalikes, trained: np.ndarray, held_out: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Held-out images with a near copy in training, each once: (n,) rows, (n,) rows of a copy, (n,) bool whether it is exact."""
    one, other = lookalikes.near
    here, there = np.concatenate([one, other]), np.concatenate([other, one])
    parted = held_out[here] & trained[there] & (here != there)
    here, there = here[parted], there[parted]
    rows, place = np.unique(np.concatenate([here, there]), return_inverse=True)
    content = group_images(pairs.images[rows])[place]
    is_copy = content[: len(here)] == content[len(here) :]
    order = np.lexsort((~is_copy, here))  # an exact copy before a near one
    rows, first = np.unique(here[order], return_index=True)
    return rows, there[order][first], is_copy[order][first]


def _equal_captions(text: np.ndarray, train: np.ndarray, validation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Validation captions whose text is trained on, and for each the first training caption of that text; int64 rows."""
    known, first = np.unique(text[train], return_index=True)
    place = np.minimum(np.searchsorted(known, text[validation]), max(0, len(known) - 1))
    if not len(known):
        return validation[:0], train[:0]
    same = (known[place] == text[validation]) & (text[validation] != NO_TEXT)
    return validation[same], train[first[place[same]]]


def _shortened(text: str) -> str:
    return repr(str(text) if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT].rstrip()}…")
