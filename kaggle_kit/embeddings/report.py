"""What is in the data: counts, norms, duplicates, and how far the test captions are from the training captions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kaggle_kit.embeddings.folds import fold_pairs, group_images
from kaggle_kit.embeddings.leaks import find_leaks, sum_leaks
from kaggle_kit.embeddings.lookalikes import NEAR_COPY, find_lookalikes, normalise_caption
from kaggle_kit.embeddings.neighbours import BLOCK_ROWS, find_near_copies, nearest_cosines
from kaggle_kit.embeddings.pairs import Pairs, TestCaptions
from kaggle_kit.errors import ConfigError, DataError
from kaggle_kit.settings import FoldSettings

# Enough for a share to within about a per cent; all against all would take minutes on two cores.
SAMPLE = 2_000
REFERENCE = 30_000
FAR_QUANTILE = 0.95


@dataclass(frozen=True)
class DataReport:
    """What the training data and the test captions are like.

    Attributes:
        facts: as plain data, what ``kk data --json`` prints: ``train``, ``folds``, and ``test`` where there is one.
        captions_of_image: (images,) int64.
        text_norms: of the training captions, (captions,) float64.
        image_norms: (images,) float64.
        test_norms: of the test captions, float64; None without them.
        train_distances: cosine distance to the nearest training caption of another image, of a sample of at most 2,000
            training captions, float32; None without test captions.
        test_distances: cosine distance of each test caption to the nearest training caption, float32.
    """

    facts: dict[str, Any]
    captions_of_image: np.ndarray
    text_norms: np.ndarray
    image_norms: np.ndarray
    test_norms: np.ndarray | None = None
    train_distances: np.ndarray | None = None
    test_distances: np.ndarray | None = None

    def to_dict(self) -> dict[str, Any]:
        """The facts."""
        return self.facts


def data_report(pairs: Pairs, test: TestCaptions | None = None, *, seed: int = 0) -> DataReport:
    """What the training data and the test captions are like.

    Takes some seconds at the real competition's size.

    Args:
        pairs: the training data.
        test: the test captions.
        seed: seed of the sample that distances are measured on.

    Raises:
        DataError: the test captions have other dimensions.
    """
    text_norms, image_norms = norms(pairs.text), norms(pairs.images)
    train = _train_facts(pairs, text_norms, image_norms)
    report = DataReport({"train": train}, pairs.captions_of_image, text_norms, image_norms)
    return report if test is None else _with_test(report, pairs, test, seed)


def _train_facts(pairs: Pairs, text_norms: np.ndarray, image_norms: np.ndarray) -> dict[str, Any]:
    counts = pairs.captions_of_image
    return {
        **pairs.file.to_dict(),
        "captions": len(pairs),
        "images": len(pairs.images),
        "text_dim": pairs.text.shape[1],
        "image_dim": pairs.images.shape[1],
        "captions_an_image": _spread(counts),
        "images_without_captions": int(np.count_nonzero(counts == 0)),
        "text_norm": _spread(text_norms),
        "image_norm": _spread(image_norms),
        "repeated_captions": _repeated(pairs.captions),
        "repeated_image_names": len(pairs.image_names) - len(np.unique(pairs.image_names)),
        "copied_images": int(np.count_nonzero(group_images(pairs.images) != np.arange(len(pairs.images)))),
    }


def _with_test(report: DataReport, pairs: Pairs, test: TestCaptions, seed: int) -> DataReport:
    if test.text.shape[1] != pairs.text.shape[1]:
        raise DataError(
            f"test captions have {test.text.shape[1]} dimensions, training captions {pairs.text.shape[1]}",
            "both must come from the same encoder",
        )
    test_norms = norms(test.text)
    own, away = domain_distances(pairs, test, seed=seed)
    facts = {**report.facts, "test": _test_facts(pairs, test, test_norms, own, away)}
    return replace(report, facts=facts, test_norms=test_norms, train_distances=own, test_distances=away)


def _test_facts(
    pairs: Pairs, test: TestCaptions, test_norms: np.ndarray, own: np.ndarray, away: np.ndarray
) -> dict[str, Any]:
    known = {normalise_caption(text) for text in pairs.captions.tolist()}
    bound = float(np.quantile(own, FAR_QUANTILE)) if len(own) else float("nan")
    return {
        **test.file.to_dict(),
        "captions": len(test),
        "text_dim": test.text.shape[1],
        "text_norm": _spread(test_norms),
        "repeated_captions": _repeated(test.captions),
        "captions_in_train": sum(normalise_caption(text) in known for text in test.captions.tolist()),
        "train_captions_near_test": int(np.count_nonzero(find_near_copies(pairs.text, test.text, NEAR_COPY))),
        "far_from_train": {
            "share": float(np.mean(away > bound)),
            "expected": 1 - FAR_QUANTILE,
            "distance": bound,
            "median_train": float(np.median(own)) if len(own) else float("nan"),
            "median_test": float(np.median(away)),
        },
    }


def domain_distances(pairs: Pairs, test: TestCaptions, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Cosine distance to the nearest training caption: of training captions (those of the same image aside), and of
    test captions.

    Where the second are larger than the first, the test comes from elsewhere. Both are measured against the same
    random reference of at most 30,000 training captions.

    Returns:
        (at most 2,000,) float32 and (test captions,) float32.
    """
    order = np.random.default_rng(seed).permutation(len(pairs))
    reference, sample = np.sort(order[:REFERENCE]), np.sort(order[-SAMPLE:])
    others, image = pairs.text[reference], pairs.image_of_caption
    own = nearest_cosines(pairs.text[sample], others, group=image[sample], other_group=image[reference])
    return 1 - own, 1 - nearest_cosines(test.text, others)


def fold_facts(pairs: Pairs, settings: FoldSettings) -> dict[str, Any]:
    """What looks alike in the training data, and what of it the folds of these settings would part: plain data.

    ``refused`` says why no folds can be made, None when they can; ``leaks`` is as :func:`~kaggle_kit.embeddings.leaks.sum_leaks` gives it.
    """
    lookalikes = find_lookalikes(pairs)
    groups = lookalikes.groups(pairs.image_of_caption, len(pairs.images))
    sizes = np.bincount(groups)
    facts = {
        "count": settings.count,
        "images_with_near_copies": len(np.unique(np.concatenate(lookalikes.near))),
        "images_joined": int(sizes[sizes > 1].sum()),
        "groups": int(np.count_nonzero(sizes > 1)),
        "largest_group": int(sizes.max()),
    }
    try:
        folds = fold_pairs(pairs, settings, lookalikes=lookalikes)
    except (DataError, ConfigError) as error:
        return {**facts, "images_held_out": [], "leaks": None, "refused": error.message}
    held_out = [int(np.count_nonzero(pairs.is_own[folds.images_of(fold)])) for fold in range(folds.count)]
    leaks = sum_leaks(find_leaks(pairs, folds, lookalikes=lookalikes))
    return {**facts, "images_held_out": held_out, "leaks": leaks, "refused": None}


def norms(rows: np.ndarray) -> np.ndarray:
    """Euclidean norms of rows, (n,) float64, in blocks."""
    blocks = (rows[first : first + BLOCK_ROWS] for first in range(0, len(rows), BLOCK_ROWS))
    return np.concatenate([np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64)) for block in blocks])


def _spread(values: np.ndarray) -> dict[str, float]:
    return {"min": float(values.min()), "mean": float(values.mean()), "max": float(values.max())}


def _repeated(captions: np.ndarray) -> int:
    """Captions whose words an earlier one has."""
    return len(captions) - len({normalise_caption(text) for text in captions.tolist()})
