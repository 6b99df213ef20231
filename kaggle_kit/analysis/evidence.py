"""Out-of-fold predictions set beside the truth: what every judgement of a run is made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kaggle_kit.embeddings import Pairs
from kaggle_kit.embeddings.neighbours import unit_rows
from kaggle_kit.progress import SILENCE, Progress

if TYPE_CHECKING:
    from kaggle_kit.training.crossvalidation import OutOfFold

NOBODY = -1
BLOCK_ROWS = 1024


@dataclass(frozen=True)
class Evidence:
    """Held-out captions, what was predicted for them, and the images that they compete among.

    Attributes:
        predictions: (captions, d_image) float32 unit rows.
        images: (images, d_image) float32 unit rows, each image once.
        image: (captions,) int64, the row in ``images`` of the right one.
        fold: (images,) int64; a caption's gallery is all images of its image's fold, which its translator never saw.
        text: (captions, d_text) float32.
        captions: (captions,) str.
        rows: (captions,) int64, the row of each caption in the training data, counted from 0.
        number: (captions,) int64, which of its image's captions it is, counted from 1.
        names: (images,) str.
    """

    predictions: np.ndarray
    images: np.ndarray
    image: np.ndarray
    fold: np.ndarray
    text: np.ndarray
    captions: np.ndarray
    rows: np.ndarray
    number: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.image)


@dataclass(frozen=True)
class Rankings:
    """How each caption's gallery was ranked.

    Attributes:
        rank: (captions,) int64, place of the right image, 1 the best; ties count against it.
        gallery: (captions,) int64, how many images were ranked.
        top: (captions, k) int64 image rows, the nearest first; -1 where the gallery has fewer.
        top_cosine: (captions, k) float32, their cosines to the prediction.
        cosine: (captions,) float32, of the right image.
        rival: (captions,) int64, the nearest wrong image; -1 where there is none.
        rival_cosine: (captions,) float32, its cosine; minus infinity where there is none.
    """

    rank: np.ndarray
    gallery: np.ndarray
    top: np.ndarray
    top_cosine: np.ndarray
    cosine: np.ndarray
    rival: np.ndarray
    rival_cosine: np.ndarray

    @property
    def margin(self) -> np.ndarray:
        """How much nearer the right image is than the nearest wrong one, (captions,) float32; negative for an error."""
        return self.cosine - self.rival_cosine


def gather_evidence(oof: OutOfFold, pairs: Pairs) -> Evidence:
    """The held-out captions of a run, or of an ensemble, with images renumbered from 0."""
    rows = np.flatnonzero(oof.covered)
    used, image = np.unique(pairs.image_of_caption[rows], return_inverse=True)
    return Evidence(
        predictions=unit_rows(oof.predictions.numpy()[rows]),
        images=unit_rows(pairs.images[used]),
        image=image.astype(np.int64),
        fold=np.asarray(oof.fold_of_image)[used].astype(np.int64),
        text=np.asarray(pairs.text[rows], np.float32),
        captions=pairs.captions[rows],
        rows=rows.astype(np.int64),
        number=caption_numbers(pairs.image_of_caption)[rows],
        names=pairs.image_names[used],
    )


def caption_numbers(image_of_caption: np.ndarray) -> np.ndarray:
    """Which of its image's captions each caption is, in the order of the file: (captions,) int64, counted from 1."""
    order = np.argsort(image_of_caption, kind="stable")
    _, first, count = np.unique(image_of_caption[order], return_index=True, return_counts=True)
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.arange(len(order)) - np.repeat(first, count) + 1
    return numbers


def rank_galleries(evidence: Evidence, *, neighbours: int, progress: Progress = SILENCE) -> Rankings:
    """Rank each caption's gallery by cosine, in blocks: scores of 1,024 captions are held at once.

    Args:
        neighbours: how many of the nearest images are remembered.
    """
    count = len(evidence)
    found = Rankings(
        rank=np.zeros(count, np.int64),
        gallery=np.zeros(count, np.int64),
        top=np.full((count, neighbours), NOBODY, np.int64),
        top_cosine=np.full((count, neighbours), np.nan, np.float32),
        cosine=np.zeros(count, np.float32),
        rival=np.full(count, NOBODY, np.int64),
        rival_cosine=np.full(count, -np.inf, np.float32),
    )
    watch, done = progress.start("ranking galleries", count, "captions"), 0
    for fold in np.unique(evidence.fold):
        gallery = np.flatnonzero(evidence.fold == fold)
        captions = np.flatnonzero(evidence.fold[evidence.image] == fold)
        for first in range(0, len(captions), BLOCK_ROWS):
            _rank_block(found, evidence, captions[first : first + BLOCK_ROWS], gallery)
            done += len(captions[first : first + BLOCK_ROWS])
            watch.update(done)
    watch.finish()
    return found


def _rank_block(found: Rankings, evidence: Evidence, captions: np.ndarray, gallery: np.ndarray) -> None:
    """Fill in the rows ``captions``, whose gallery is the images ``gallery``."""
    import torch

    from kaggle_kit.metrics import ranks_from_scores

    scores = torch.from_numpy(evidence.predictions[captions]) @ torch.from_numpy(evidence.images[gallery]).T
    truth = torch.from_numpy(np.searchsorted(gallery, evidence.image[captions]))
    found.rank[captions] = ranks_from_scores(scores, truth).numpy()
    found.gallery[captions] = len(gallery)
    nearest = scores.topk(min(found.top.shape[1], len(gallery)))
    found.top[captions, : nearest.indices.shape[1]] = gallery[nearest.indices.numpy()]
    found.top_cosine[captions, : nearest.indices.shape[1]] = nearest.values.numpy()
    found.cosine[captions] = scores.gather(1, truth.unsqueeze(1)).squeeze(1).numpy()
    if len(gallery) > 1:
        rival = scores.scatter(1, truth.unsqueeze(1), float("-inf")).max(1)
        found.rival[captions] = gallery[rival.indices.numpy()]
        found.rival_cosine[captions] = rival.values.numpy()


def random_others(evidence: Evidence, seed: int) -> np.ndarray:
    """For each caption a random image of its gallery that is not its own: (captions,) int64; -1 where there is no other."""
    generator = np.random.default_rng(seed)
    others = np.full(len(evidence), NOBODY, np.int64)
    for fold in np.unique(evidence.fold):
        gallery = np.flatnonzero(evidence.fold == fold)
        captions = np.flatnonzero(evidence.fold[evidence.image] == fold)
        if len(gallery) > 1:
            drawn = generator.integers(0, len(gallery) - 1, len(captions))
            own = np.searchsorted(gallery, evidence.image[captions])
            others[captions] = gallery[drawn + (drawn >= own)]
    return others
