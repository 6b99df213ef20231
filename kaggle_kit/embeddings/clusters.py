"""Folds that stand for another domain: clusters of images whose captions are alike, each held out whole.

A random fold asks how a translator does on more of the same. A cluster that it has never seen asks how it does elsewhere, which is where
part of the competition's test captions come from.
"""

from __future__ import annotations

import warnings

import numpy as np

from kaggle_kit.embeddings.neighbours import sum_units, unit_rows
from kaggle_kit.embeddings.pairs import Pairs
from kaggle_kit.errors import ConfigError, DataError
from kaggle_kit.settings import FoldSettings

NEVER = -1
FINER = (1, 2, 4)
"""How many clusters are tried, as multiples of the folds: finer ones, several to a fold, where coarse ones differ too much in size."""

SMALLEST, LARGEST, MOST = 0.5, 2.0, 0.75
"""Sizes of a fold that are fair, as multiples of an equal share, and the share of all images that no fold may exceed."""


def cluster_folds(pairs: Pairs, settings: FoldSettings, groups: np.ndarray) -> np.ndarray:
    """Which fold holds out each image, (images,) int16: whole clusters by k-means on the images' mean captions.

    Images without captions are never held out. Images from elsewhere belong to clusters too: their captions are not trained on
    while the cluster is held out.

    Args:
        groups: (images,) integer; images of one group stay together.

    Raises:
        ConfigError: more folds than images.
        DataError: the captions fall into no clusters of fair sizes.
    """
    groups = np.unique(groups, return_inverse=True)[1].reshape(-1)
    count = int(groups.max(initial=-1)) + 1
    group = groups[pairs.image_of_caption]
    captioned = np.flatnonzero(np.bincount(group, minlength=count))
    centres = unit_rows(sum_units(pairs.text, group, count)[captioned])
    counted = pairs.is_own & (pairs.captions_of_image > 0)
    sizes = np.bincount(groups[counted], minlength=count)[captioned]
    fold_of_group = np.full(count, NEVER, np.int16)
    fold_of_group[captioned] = _fold_of_centre(centres, sizes, settings)
    return fold_of_group[groups]


def _fold_of_centre(centres: np.ndarray, sizes: np.ndarray, settings: FoldSettings) -> np.ndarray:
    """The fold of each centre (n, d) that stands for ``sizes`` images, (n,) integer."""
    coarse = settings.count if settings.count > 1 else max(2, round(1 / settings.holdout))
    if len(centres) < max(2, settings.count):
        raise ConfigError([f"folds.count: {settings.count} folds need as many images; there are {len(centres)}"])
    largest = 0
    for clusters in (times * coarse for times in FINER if times * coarse <= len(centres)):
        cluster = _k_means(centres, sizes, clusters, settings.seed)
        weight = np.bincount(cluster, sizes, clusters)
        largest = largest or int(weight.max())
        fold_of_cluster = _packed(weight, settings)
        shares = np.bincount(fold_of_cluster[fold_of_cluster != NEVER], weight[fold_of_cluster != NEVER]) / sizes.sum()
        if _is_fair(shares, settings):
            return fold_of_cluster[cluster]
    raise DataError(
        f"the captions fall into no text clusters of fair sizes: the largest of {coarse} holds {largest:,} of {int(sizes.sum()):,} images",
        "--set folds.by=images deals images at random; another folds.count or folds.seed may do, too",
    )


def _k_means(centres: np.ndarray, sizes: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    from sklearn.cluster import KMeans  # type: ignore[import-untyped] # a second to import: only who clusters pays it
    from sklearn.exceptions import ConvergenceWarning  # type: ignore[import-untyped]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer different captions than clusters: judged by size
        found = KMeans(clusters, n_init=4, random_state=seed).fit_predict(
            centres, sample_weight=np.maximum(sizes, 1e-3)
        )
    return np.asarray(found)


def _packed(weight: np.ndarray, settings: FoldSettings) -> np.ndarray:
    """The fold of each cluster, the largest first into the emptiest; for a single hold-out, the cluster nearest to the share asked for."""
    fold = np.full(len(weight), NEVER)
    if settings.count == 1:
        fold[np.argmin(np.abs(weight - settings.holdout * weight.sum()))] = 0
        return fold
    held = np.zeros(settings.count)
    for cluster in np.argsort(-weight, kind="stable"):
        fold[cluster] = np.argmin(held)
        held[fold[cluster]] += weight[cluster]
    return fold


def _is_fair(shares: np.ndarray, settings: FoldSettings) -> bool:
    equal = 1 / settings.count if settings.count > 1 else settings.holdout
    complete = len(shares) == settings.count
    return complete and shares.min() >= SMALLEST * equal and shares.max() <= min(LARGEST * equal, MOST)
