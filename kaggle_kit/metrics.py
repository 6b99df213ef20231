"""Retrieval metrics: the competition's MRR in galleries, and what stands beside it.

A rank counts every gallery row whose score is not below that of the right image, the right image included: ties count against, and a
score that is NaN never ranks first. Galleries hold each image once, with one caption for each image: several captions of one image in
one gallery would make copies of the right image count as wrong, and the figure would saturate at 0.4567.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BLOCK_ROWS = 4096
"""Predictions scored at once against a whole gallery: 4,096 x 25,000 float32 scores are 0.4 GB."""


@dataclass(frozen=True)
class GalleryScore:
    """MRR over galleries: the mean over draws, and the standard error over images of that mean."""

    mrr: float
    error: float
    draws: int
    images: int
    gallery_size: int


@dataclass(frozen=True)
class RetrievalScores:
    """What stands beside the competition's score, over one gallery of all images, one caption for each."""

    full_mrr: float
    recall_at_1: float
    recall_at_5: float
    recall_at_10: float
    ndcg: float
    median_rank: float
    cosine: float
    full_gallery_size: int

    def to_dict(self) -> dict[str, float]:
        """The figures by name."""
        return asdict(self)


SHORTEST = 1e-12
"""Rows shorter than this are divided by it and not by their length."""


def unit(vectors: Tensor, length: Tensor | None = None) -> Tensor:
    """Rows of ``vectors`` (…, d) at length 1, float32; a row of zeros stays zero.

    Args:
        vectors: any float dtype.
        length: scalar, another length than 1; it has a gradient, too.
    """
    if torch.is_grad_enabled() and (vectors.requires_grad or (length is not None and length.requires_grad)):
        return _Unit.apply(vectors.float(), length)  # type: ignore[no-any-return]
    rows = F.normalize(vectors.float(), dim=-1, eps=SHORTEST)
    return rows if length is None else rows * length


class _Unit(torch.autograd.Function):
    """``unit`` with a gradient of four passes over the rows; that of ``F.normalize`` takes ten."""

    @staticmethod
    def forward(ctx: Any, vectors: Tensor, length: Tensor | None) -> Tensor:
        found = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        divisor = found.clamp(min=SHORTEST) if length is None else found.clamp(min=SHORTEST) / length
        rows = vectors / divisor
        ctx.save_for_backward(rows, divisor, found > SHORTEST, length)
        return rows

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        rows, divisor, turns, length = ctx.saved_tensors
        along = (gradient * rows).sum(-1, keepdim=True)
        for_length = along.sum() / length if ctx.needs_input_grad[1] else None
        if length is not None:
            along = along / length.square()
        # a row that is too short to have a direction is only stretched
        for_vectors = torch.addcmul(gradient, rows, along * turns, value=-1).div_(divisor)
        return for_vectors if ctx.needs_input_grad[0] else None, for_length


def ranks_from_scores(scores: Tensor, truth: Tensor) -> Tensor:
    """Rank of each row's right column, 1 the best.

    Args:
        scores: (…, n, gallery) similarity of each prediction to each gallery row.
        truth: (…, n) int64, the column of the right image.

    Returns:
        (…, n) int64 ranks from 1 to the gallery's size.
    """
    right = scores.gather(-1, truth.unsqueeze(-1))  # (…, n, 1)
    return (~(scores < right)).sum(-1)


def retrieval_ranks(predictions: Tensor, gallery: Tensor, truth: Tensor, *, similarity: str = "cosine") -> Tensor:
    """Rank of the right image among all rows of ``gallery`` for each prediction, in bounded memory.

    Args:
        predictions: (n, d) float.
        gallery: (m, d) float, each image once.
        truth: (n,) int64, the row of the right image.
        similarity: ``cosine``, or ``dot`` (the gallery's lengths count, as in the organisers' local evaluation).

    Returns:
        (n,) int64 ranks from 1 to m.
    """
    columns = _gallery_rows(gallery, similarity).T  # (d, m)
    blocks = [
        ranks_from_scores(predictions[start : start + BLOCK_ROWS].float() @ columns, truth[start : start + BLOCK_ROWS])
        for start in range(0, len(predictions), BLOCK_ROWS)
    ]
    return torch.cat(blocks) if blocks else truth.new_zeros(0)


def _gallery_rows(images: Tensor, similarity: str) -> Tensor:
    """Gallery rows as they are compared; the prediction's length never changes a rank, so it is left alone."""
    if similarity == "cosine":
        return unit(images)
    if similarity == "dot":
        return images.float()
    raise ValueError(f"similarity must be cosine or dot, not {similarity!r}")


def deal_galleries(
    image_of_caption: np.ndarray, *, gallery_size: int, draws: int, seed: int, groups: np.ndarray | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Deal images at random into galleries, each image once a draw, with one random caption for each.

    Images left over by whole galleries sit a draw out. A group with fewer images than a gallery forms one gallery, and then all
    galleries are of that smaller size.

    Args:
        image_of_caption: (n,) integer, the image of each caption.
        gallery_size: images in a gallery.
        draws: how often everything is dealt anew.
        seed: the same seed deals the same galleries.
        groups: (images,) integer; a gallery holds images of one group only. None: all are one group.

    Yields:
        ``captions`` and ``images``, both (galleries, size) int64, place by place the caption and its image.
    """
    generator = np.random.default_rng(seed)
    order = np.argsort(image_of_caption, kind="stable")
    images, starts, counts = np.unique(image_of_caption[order], return_index=True, return_counts=True)
    group = np.zeros(len(images), dtype=np.int64) if groups is None else np.asarray(groups)[images]
    members = [np.flatnonzero(group == number) for number in np.unique(group)]
    size = min([gallery_size, *map(len, members)])
    for _ in range(draws if size else 0):
        picks = order[starts + generator.integers(0, counts)]
        dealt = [generator.permutation(rows)[: len(rows) // size * size] for rows in members]
        places = np.concatenate(dealt).reshape(-1, size)
        yield picks[places].astype(np.int64), images[places].astype(np.int64)


def gallery_reciprocal_ranks(
    predictions: Tensor,
    images: Tensor,
    image_of_caption: np.ndarray,
    *,
    gallery_size: int = 100,
    draws: int = 10,
    seed: int = 0,
    similarity: str = "cosine",
    groups: np.ndarray | None = None,
) -> np.ndarray:
    """Mean reciprocal rank of each image over the draws in which it fell into a gallery.

    Two models scored with one seed meet the same galleries, so their figures can be compared image by image.

    Args:
        predictions: (n, d), one row a caption.
        images: (m, d), one row an image.
        image_of_caption: (n,) integer index into ``images``.
        groups: (m,) integer. Out-of-fold predictions need the fold of each image here: a translator's training images are nearer to
            its predictions than unseen ones, so in a gallery of mixed folds they would compete unfairly.

    Returns:
        (m,) float64; NaN for an image without captions or never dealt.
    """
    rows = _gallery_rows(images, similarity)
    total, times = np.zeros(len(images)), np.zeros(len(images))
    dealt = deal_galleries(
        np.asarray(image_of_caption), gallery_size=gallery_size, draws=draws, seed=seed, groups=groups
    )
    for captions, shown in dealt:
        ranks = ranks_from_scores(*gallery_similarities(predictions, rows, captions, shown))
        total[shown] += 1.0 / ranks.cpu().double().numpy()
        times[shown] += 1
    return np.where(times > 0, total / np.maximum(times, 1), np.nan)


def gallery_similarities(
    predictions: Tensor, rows: Tensor, captions: np.ndarray, shown: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Scores of dealt galleries and the right columns.

    Args:
        predictions: (n, d).
        rows: (m, d) float32 gallery rows as compared.
        captions: (galleries, size) int64 rows of ``predictions``.
        shown: (galleries, size) int64 rows of ``rows``.

    Returns:
        (galleries, size, size) float32 scores and (galleries, size) int64, the right column of each row.
    """
    queries = predictions[torch.from_numpy(captions).to(predictions.device)].float()  # (galleries, size, d)
    gallery = rows[torch.from_numpy(shown).to(rows.device)]
    truth = torch.arange(shown.shape[1], device=queries.device).expand(shown.shape)
    return queries @ gallery.transpose(1, 2), truth


def gallery_mrr(
    predictions: Tensor,
    images: Tensor,
    image_of_caption: np.ndarray,
    *,
    gallery_size: int = 100,
    draws: int = 10,
    seed: int = 0,
    similarity: str = "cosine",
    groups: np.ndarray | None = None,
) -> GalleryScore:
    """The competition's score by draws from captions whose images are known; arguments as in ``gallery_reciprocal_ranks``.

    The standard error is taken over images, the unit that was sampled: more draws make the mean smoother but not this error smaller.
    """
    values = gallery_reciprocal_ranks(
        predictions,
        images,
        image_of_caption,
        gallery_size=gallery_size,
        draws=draws,
        seed=seed,
        similarity=similarity,
        groups=groups,
    )
    values = values[~np.isnan(values)]
    spread = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
    mean = float(values.mean()) if len(values) else float("nan")
    return GalleryScore(mean, spread, draws, len(values), dealt_size(gallery_size, image_of_caption, groups))


def dealt_size(gallery_size: int, image_of_caption: np.ndarray, groups: np.ndarray | None = None) -> int:
    """The size of the galleries that ``deal_galleries`` deals: smaller than asked for when a group has fewer images."""
    images = np.unique(image_of_caption)
    group = np.zeros(len(images), dtype=np.int64) if groups is None else np.asarray(groups)[images]
    return int(min([gallery_size, *np.unique(group, return_counts=True)[1]]))


def retrieval_scores(
    predictions: Tensor,
    images: Tensor,
    image_of_caption: np.ndarray,
    *,
    seed: int = 0,
    groups: np.ndarray | None = None,
) -> RetrievalScores:
    """Figures over galleries of all images of a group (the fold, for out-of-fold predictions), one random caption for each.

    Args:
        predictions: (n, d), one row a caption.
        images: (m, d), one row an image.
        image_of_caption: (n,) integer index into ``images``.
        groups: (m,) integer as in ``gallery_reciprocal_ranks``; None: one gallery of all images that have a caption.
    """
    group = np.zeros(len(images), dtype=np.int64) if groups is None else np.asarray(groups)
    ranks, cosines, sizes = [], [], []
    for number in np.unique(group[image_of_caption]):
        own = np.flatnonzero(group[image_of_caption] == number)
        whole = len(np.unique(image_of_caption[own]))
        picks, shown = next(deal_galleries(image_of_caption[own], gallery_size=whole, draws=1, seed=seed))
        queries = predictions[torch.from_numpy(own[picks[0]]).to(predictions.device)]
        gallery = images[torch.from_numpy(shown[0]).to(images.device)]
        ranks.append(retrieval_ranks(queries, gallery, torch.arange(whole, device=queries.device)).cpu().double())
        cosines.append((unit(queries) * unit(gallery)).sum(1).cpu().double())
        sizes.append(whole)
    return _summary(torch.cat(ranks), torch.cat(cosines), round(float(np.mean(sizes))))


def _summary(ranks: Tensor, cosines: Tensor, gallery_size: int) -> RetrievalScores:
    return RetrievalScores(
        full_mrr=float((1 / ranks).mean()),
        recall_at_1=float((ranks <= 1).double().mean()),
        recall_at_5=float((ranks <= 5).double().mean()),
        recall_at_10=float((ranks <= 10).double().mean()),
        ndcg=float((1 / torch.log2(ranks + 1)).mean()),
        median_rank=float(np.median(ranks.cpu().numpy())),
        cosine=float(cosines.mean()),
        full_gallery_size=gallery_size,
    )
