"""Images that must stay on one side of a split: copies, near copies, and images that an equal caption describes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kaggle_kit.embeddings.neighbours import near_copy_pairs
from kaggle_kit.embeddings.pairs import Pairs

NEAR_COPY = 0.999
"""Cosine from which two image vectors count as one picture."""


def normalise_caption(text: str) -> str:
    """A caption with case, outer punctuation and runs of spaces taken away, for comparing."""
    return " ".join(text.lower().split()).rstrip(" .!\"'")


def group_lookalikes(pairs: Pairs, *, captions: bool = True) -> np.ndarray:
    """Which images belong together: (images,) int64, numbered from 0.

    Two images belong together when their vectors have a cosine of 0.999 or more, when a caption of one equals a caption of the other
    (``captions``), or when a chain of such links joins them.
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = [near_copy_pairs(pairs.images, NEAR_COPY)]
    if captions:
        links.append(_equal_caption_links(pairs.captions.tolist(), pairs.image_of_caption))
    rows, columns = (np.concatenate(side) for side in zip(*links, strict=True))
    size = len(pairs.images)
    graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(size, size))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _equal_caption_links(captions: Sequence[str], image_of_caption: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of images that share a caption: each later image with the first one of that caption."""
    first: dict[str, int] = {}
    rows, columns = [], []
    for text, image in zip(map(normalise_caption, captions), image_of_caption.tolist(), strict=True):
        if text and first.setdefault(text, image) != image:
            rows.append(first[text])
            columns.append(image)
    return np.array(rows, np.int64), np.array(columns, np.int64)
