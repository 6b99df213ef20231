"""Images that must stay on one side of a split: copies, near copies, and images that an equal caption describes."""

from __future__ import annotations

from dataclasses import dataclass
from unicodedata import normalize

import numpy as np

from kaggle_kit.embeddings.neighbours import near_copy_pairs
from kaggle_kit.embeddings.pairs import Pairs

NEAR_COPY = 0.999
"""Cosine from which two image vectors count as one picture."""

NO_TEXT = -1


def normalise_caption(text: str) -> str:
    """A caption with case, outer punctuation and runs of spaces taken away, and in one of Unicode's forms, for comparing."""
    folded = text.lower() if text.isascii() else normalize("NFKC", normalize("NFKC", text).casefold())
    return " ".join(folded.split()).rstrip(" .!\"'")


@dataclass(frozen=True)
class Lookalikes:
    """What looks alike in a training set; looked for once, used to make folds and to check them.

    Attributes:
        near: two int64 arrays of image rows, pair by pair images whose vectors have a cosine of 0.999 or more.
        text_of_caption: (captions,) int64, the same number for captions of equal words; -1 for a caption without any.
    """

    near: tuple[np.ndarray, np.ndarray]
    text_of_caption: np.ndarray

    def groups(self, image_of_caption: np.ndarray, images: int, *, captions: bool = True) -> np.ndarray:
        """Which images belong together: (images,) int64, numbered from 0.

        Two images belong together when their vectors are near copies, when a caption of one equals a caption of the other (``captions``),
        or when a chain of such links joins them.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        links = [self.near, *([self._equal_captions(image_of_caption)] if captions else [])]
        rows, columns = (np.concatenate(side) for side in zip(*links, strict=True))
        graph = coo_array((np.ones(len(rows), np.int8), (rows, columns)), shape=(images, images))
        return connected_components(graph, directed=False)[1].astype(np.int64)

    def _equal_captions(self, image_of_caption: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs of images that share a caption: each later image with the first one of that caption."""
        captioned = np.flatnonzero(self.text_of_caption != NO_TEXT)
        _, first, text = np.unique(self.text_of_caption[captioned], return_index=True, return_inverse=True)
        image = image_of_caption[captioned].astype(np.int64)
        return image[first][text], image


def find_lookalikes(pairs: Pairs) -> Lookalikes:
    """Look for near copies among the images and for equal captions: about a second at 5,400 images, once for everything."""
    number: dict[str, int] = {"": NO_TEXT}
    texts = [number.setdefault(normalise_caption(text), len(number)) for text in pairs.captions.tolist()]
    return Lookalikes(near_copy_pairs(pairs.images, NEAR_COPY), np.array(texts, np.int64))
