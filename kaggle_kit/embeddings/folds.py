"""Folds of images: every caption of an image, and every copy of an image, is on one side of a split.

Splitting by caption is the competition's best-known trap: captions of one image on both sides make validation
meaningless. Here a fold is a property of an image, so that a split with one image on both sides cannot be written
down.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from kaggle_kit.embeddings.clusters import NEVER, cluster_folds
from kaggle_kit.embeddings.lookalikes import Lookalikes, find_lookalikes
from kaggle_kit.embeddings.npz import NPY_MAGIC
from kaggle_kit.embeddings.pairs import Pairs
from kaggle_kit.errors import ConfigError, DataError, MissingError
from kaggle_kit.files import read_json, write_json, write_npy
from kaggle_kit.settings import FoldSettings

FIVE_FOLDS = FoldSettings()


@dataclass(frozen=True)
class Folds:
    """Which fold holds out each image.

    Attributes:
        fold_of_image: (images,) int16, from 0 to ``count`` - 1; -1 for an image that is never held out.
        count: number of folds; 1 is a single hold-out.
        seed: seed of the split.
        holdout: share of the images held out where ``count`` is 1.
    """

    fold_of_image: np.ndarray
    count: int
    seed: int
    holdout: float

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of who is held out where: equal digests, equal splits."""
        content = np.ascontiguousarray(self.fold_of_image, dtype="<i2").tobytes()
        return hashlib.sha256(f"{self.count} {len(self.fold_of_image)} ".encode() + content).hexdigest()

    def split(self, fold: int, image_of_caption: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The captions to train on and those to validate on when ``fold`` is held out.

        Args:
            fold: from 0 to ``count`` - 1.
            image_of_caption: (captions,) integer.

        Returns:
            Two arrays of int64 caption rows, rising.
        """
        if not 0 <= fold < self.count:
            raise ValueError(f"fold {fold} of {self.count}")
        held_out = self.fold_of_image[image_of_caption] == fold
        return np.flatnonzero(~held_out), np.flatnonzero(held_out)

    def images_of(self, fold: int) -> np.ndarray:
        """The images that ``fold`` holds out, int64 rows, rising."""
        return np.flatnonzero(self.fold_of_image == fold)

    def save(self, folder: Path) -> None:
        """Write ``folds.npy`` and ``folds.json`` into ``folder``, atomically."""
        write_npy(folder / "folds.npy", self.fold_of_image)
        record = {"count": self.count, "seed": self.seed, "holdout": self.holdout, "digest": self.digest}
        write_json(folder / "folds.json", {**record, "images": len(self.fold_of_image)})

    @classmethod
    def load(cls, folder: Path) -> Folds:
        """The folds saved in ``folder``.

        Raises:
            MissingError: none are there.
            DataError: damaged, or the two files do not belong together.
        """
        record = read_json(folder / "folds.json")
        try:
            folds = cls(
                _read_npy(folder / "folds.npy"), int(record["count"]), int(record["seed"]), float(record["holdout"])
            )
            whole = folds.digest == record["digest"]
        except (KeyError, TypeError, ValueError):
            whole = False
        if not whole:
            raise DataError(f"{folder}: folds.npy is not what folds.json describes", "restore both files from one run")
        return folds


def _read_npy(path: Path) -> np.ndarray:
    """An array from a ``.npy`` file of ours; ValueError when it is damaged."""
    try:
        with open(path, "rb") as file:
            if file.read(len(NPY_MAGIC)) != NPY_MAGIC:
                raise ValueError("not a .npy file")
            file.seek(0)
            return np.load(file, allow_pickle=False)
    except FileNotFoundError:
        raise MissingError(f"no such file: {path}") from None
    except EOFError as error:
        raise ValueError(str(error)) from None


def make_folds(
    image_of_caption: np.ndarray,
    images: int,
    settings: FoldSettings = FIVE_FOLDS,
    *,
    groups: np.ndarray | None = None,
    is_own: np.ndarray | None = None,
) -> Folds:
    """Deal images into folds of equal size, by scikit-learn's seeded splitters.

    Only images that have captions count towards a fold's size; images without any are dealt out as well.

    Args:
        image_of_caption: (captions,) integer.
        images: how many images there are.
        settings: number of folds, share held out, seed.
        groups: (images,) integer; images of one group stay together (copies of one photo, see :func:`group_images`).
            None: each on its own.
        is_own: (images,) bool; others are never held out, except where a copy of theirs is. None: all are.

    Raises:
        ConfigError: more folds than images, or a hold-out without images.
    """
    groups = np.arange(images) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    dealt = np.zeros(int(groups.max(initial=-1)) + 1, bool)
    dealt[groups if is_own is None else groups[is_own]] = True
    fold_of_group = np.full(len(dealt), NEVER, np.int16)
    # Groups with captions and groups without are dealt separately, so that every fold has its share of captions.
    has_captions = np.zeros(len(dealt), bool)
    has_captions[groups[image_of_caption]] = True
    _deal(fold_of_group, np.flatnonzero(dealt & has_captions), settings)
    silent = np.flatnonzero(dealt & ~has_captions)
    if settings.count > 1:
        fold_of_group[silent] = np.arange(len(silent)) % settings.count
    return Folds(fold_of_group[groups], settings.count, settings.seed, settings.holdout)


def _deal(fold_of_group: np.ndarray, dealt: np.ndarray, settings: FoldSettings) -> None:
    from sklearn.model_selection import KFold, ShuffleSplit  # type: ignore[import-untyped] # a second to import: only who splits pays it

    if len(dealt) < max(2, settings.count):
        raise ConfigError([f"folds.count: {settings.count} folds need as many images; there are {len(dealt)}"])
    if settings.count > 1:
        splitter = KFold(settings.count, shuffle=True, random_state=settings.seed)
    else:
        splitter = ShuffleSplit(1, test_size=settings.holdout, random_state=settings.seed)
    try:
        splits = list(splitter.split(dealt))
    except ValueError as error:
        raise ConfigError(
            [f"folds.holdout: {settings.holdout} of {len(dealt)} images cannot be held out ({error})"]
        ) from None
    for fold, (_, held_out) in enumerate(splits):
        fold_of_group[dealt[held_out]] = fold


def group_images(images: np.ndarray) -> np.ndarray:
    """Which images are copies of one another: (images,) int64, the row of the first copy.

    Exact copies only, that is rows of equal bytes: one pass over (images, d_image) float32.
    """
    rows = np.ascontiguousarray(images)
    first_row: dict[bytes, int] = {}
    digests = (hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in rows)
    return np.array([first_row.setdefault(digest, row) for row, digest in enumerate(digests)], dtype=np.int64)


def fold_pairs(pairs: Pairs, settings: FoldSettings = FIVE_FOLDS, *, lookalikes: Lookalikes | None = None) -> Folds:
    """The folds of a training set without leaks: look-alikes stay together, images from elsewhere are never held out; or clusters of
    alike captions, each held out whole (``folds.by``, see :mod:`~kaggle_kit.embeddings.clusters`).

    Args:
        lookalikes: of these pairs, where they are known; looked for when None.

    Raises:
        DataError: so many images belong together that no fair split is left, and ``folds.leaks`` does not allow an unfair one; or the
            captions fall into no clusters of fair sizes.
    """
    groups = _fair_groups(pairs, lookalikes or find_lookalikes(pairs), settings)
    if settings.by == "text_clusters":
        return Folds(cluster_folds(pairs, settings, groups), settings.count, settings.seed, settings.holdout)
    return make_folds(pairs.image_of_caption, len(pairs.images), settings, groups=groups, is_own=pairs.is_own)


def _fair_groups(pairs: Pairs, lookalikes: Lookalikes, settings: FoldSettings) -> np.ndarray:
    """Which images stay together, (images,) int64; a group larger than a fold is refused, or parted where leaks may be."""

    def joined(*, captions: bool) -> np.ndarray:
        return lookalikes.groups(pairs.image_of_caption, len(pairs.images), captions=captions)

    groups = joined(captions=settings.group == "all")
    held_out = len(pairs.images) * (1 / settings.count if settings.count > 1 else settings.holdout)
    for smaller in (partial(joined, captions=False), partial(np.arange, len(pairs.images))):
        sizes = np.bincount(groups[pairs.is_own], minlength=int(groups.max(initial=-1)) + 1)
        too_large = sizes > max(2.0, held_out)
        if not too_large.any():
            break
        if settings.leaks == "refuse":
            raise DataError(
                f"{sizes.max():,} of {len(pairs.images):,} images are joined by near copies or equal captions: a split would "
                "leak, or one fold would hold them all",
                "--set folds.leaks=warn parts them; the run is then marked as one whose folds leak",
            )
        groups = np.where(too_large[groups], len(sizes) + smaller(), groups)
    return groups


def split_pairs(pairs: Pairs, folds: Folds, fold: int) -> tuple[np.ndarray, np.ndarray]:
    """The captions to train on and those to validate on when ``fold`` is held out.

    As :meth:`Folds.split`, but captions of weight 0 are left out of training, and captions from elsewhere out of
    validation; and where only a share of the images is to be trained on, the others' captions are left out of training.
    """
    train, validation = folds.split(fold, pairs.image_of_caption)
    train = _sampled(pairs, train[pairs.is_trained[train]])
    return train, validation[pairs.is_own[pairs.image_of_caption[validation]]]


def all_captions(pairs: Pairs) -> np.ndarray:
    """The captions to train on when nothing is held out: int64 rows, rising, by the same rules as :func:`split_pairs`."""
    return _sampled(pairs, np.flatnonzero(pairs.is_trained))


def _sampled(pairs: Pairs, train: np.ndarray) -> np.ndarray:
    """The captions of ``pairs.share`` of the images in ``train``: the first in one random order of all images, so that samples nest."""
    if pairs.share == 1:
        return train
    images = np.unique(pairs.image_of_caption[train])
    order = np.random.default_rng(pairs.share_seed).permutation(len(pairs.images))
    chosen = images[np.argsort(order[images])][: round(pairs.share * len(images))]
    if len(chosen) < 2:
        raise DataError(
            f"data.share={pairs.share:g} of {len(images):,} training images leaves {len(chosen)} to train on",
            "choose a larger share",
        )
    return train[np.isin(pairs.image_of_caption[train], chosen)]
