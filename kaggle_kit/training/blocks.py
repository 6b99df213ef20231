"""Sums over the score matrix of a batch, without the matrix: block by block, and again block by block on the way back.

A batch of 16,384 has a score matrix of a gigabyte in float32, and training keeps several of its kind. What a contrastive loss needs of it
are a few sums, each of which can be taken tile by tile; their gradients need the tiles once more, which are computed again instead of being
kept. Memory for scores is then that of a few tiles, whatever the batch, at the price of one more matrix product in four.

Source: Gao et al., Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup, 2021 (recomputation); Milakov and Gimelshein,
Online normalizer calculation for softmax, 2018 (log-sum-exp tile by tile).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

from kaggle_kit.contrast import hard_triplet, same_image


def products(left: Tensor, right: Tensor, rounded: torch.dtype | None = None) -> Tensor:
    """Scores ``left @ right.T`` in float32.

    Args:
        left: (n, d) float32.
        right: (m, d) float32.
        rounded: the short format to which both are rounded before they are multiplied; sums are float32 all the same. Matrix units
            multiply short formats several times as fast. None: float32 throughout.
    """
    if rounded is None:
        return left @ right.T
    return _RoundedProducts.apply(left, right, rounded)  # type: ignore[no-any-return]


def _shortened(rows: Tensor, rounded: torch.dtype | None) -> Tensor:
    """Rows as :func:`_multiply` takes them: a GPU multiplies rounded ones, a CPU rounds them itself on the way."""
    return rows.to(rounded) if rounded is not None and rows.is_cuda else rows


def _multiply(left: Tensor, right: Tensor, rounded: torch.dtype | None) -> Tensor:
    """Matrix product of shortened rows, added up and kept in float32."""
    if rounded is None:
        return left @ right
    if left.is_cuda:
        return torch.mm(left, right, out_dtype=torch.float32)
    former = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        return left @ right
    finally:
        torch.set_float32_matmul_precision(former)


def _multiply_slope(slope: Tensor, rows: Tensor, rounded: torch.dtype | None) -> Tensor:
    """A gradient of scores times the rows on one side: the gradient of the other's, float32.

    The network rounds it as soon as it comes, so a CPU need not keep more digits of it than that.
    """
    if rounded is None or slope.is_cuda:
        return _multiply(_shortened(slope, rounded), rows, rounded)
    return (slope.to(rounded) @ rows.to(rounded)).float()


class _RoundedProducts(torch.autograd.Function):
    """``products`` of rounded rows; the gradient is rounded, too, before it is multiplied."""

    @staticmethod
    def forward(ctx: Any, left: Tensor, right: Tensor, rounded: torch.dtype) -> Tensor:
        left, right = _shortened(left, rounded), _shortened(right, rounded)
        ctx.save_for_backward(left, right)
        ctx.rounded = rounded
        return _multiply(left, right.T, rounded)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        left, right = ctx.saved_tensors
        for_left = _multiply_slope(gradient, right, ctx.rounded) if ctx.needs_input_grad[0] else None
        for_right = _multiply_slope(gradient.T, left, ctx.rounded) if ctx.needs_input_grad[1] else None
        return for_left, for_right, None


@dataclass(frozen=True)
class ScoreSums:
    """What InfoNCE needs of a score matrix.

    Attributes:
        own: (n,) float32, the score of each row with its own target.
        by_caption: (n,) log of the sum of exponentials of each row.
        by_image: (n,) the same of each column; None where it was not asked for.
        shared: (n,) mean score of each row over the columns of the row's image; None where images were not given.
    """

    own: Tensor
    by_caption: Tensor
    by_image: Tensor | None
    shared: Tensor | None


def score_sums(
    captions: Tensor,
    targets: Tensor,
    *,
    block: int,
    both_ways: bool = True,
    images: Tensor | None = None,
    rounded: torch.dtype | None = None,
) -> ScoreSums:
    """Sums over the scores ``captions @ targets.T``; batches of more than ``block`` rows never hold all of it.

    Args:
        captions: (n, d) float32, scaled.
        targets: (n, d) float32.
        block: rows and columns of a tile.
        both_ways: whether sums over columns are needed, too.
        images: (n,) int64, the image of each row; None where ``shared`` is not needed.
        rounded: as in :func:`products`.
    """
    if len(captions) > block:
        own, by_caption, by_image, shared = _TiledSums.apply(captions, targets, images, block, both_ways, rounded)
        return ScoreSums(own, by_caption, by_image if both_ways else None, None if images is None else shared)
    scores = products(captions, targets, rounded)
    shared = None
    if images is not None:
        same = same_image(images).float()
        shared = (scores * (same / same.sum(1, keepdim=True))).sum(1)
    return ScoreSums(scores.diagonal(), scores.logsumexp(1), scores.logsumexp(0) if both_ways else None, shared)


class _TiledSums(torch.autograd.Function):
    """``ScoreSums`` of a large batch as one function with a gradient of its own."""

    @staticmethod
    def forward(
        ctx: Any,
        captions: Tensor,
        targets: Tensor,
        images: Tensor | None,
        block: int,
        both_ways: bool,  # noqa: FBT001
        rounded: torch.dtype | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        by_caption, by_image = (captions.new_full((len(captions),), float("-inf")) for _ in range(2))
        own, shared, counts = (captions.new_zeros(len(captions)) for _ in range(3))
        captions, targets = _shortened(captions, rounded), _shortened(targets, rounded)
        for rows, columns in _tiles(len(captions), block):
            scores = _multiply(captions[rows], targets[columns].T, rounded)
            if rows == columns:
                own[rows] = scores.diagonal()
            by_caption[rows] = torch.logaddexp(by_caption[rows], scores.logsumexp(1))
            if both_ways:
                by_image[columns] = torch.logaddexp(by_image[columns], scores.logsumexp(0))
            if images is not None:
                same = images[rows].unsqueeze(1) == images[columns]
                counts[rows] += same.sum(1)
                shared[rows] += scores.mul_(same).sum(1)
        ctx.save_for_backward(captions, targets, images, by_caption, by_image, counts)
        ctx.block, ctx.both_ways, ctx.rounded = block, both_ways, rounded
        return own, by_caption, by_image, shared / counts if images is not None else shared

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, to_own: Tensor, to_caption: Tensor, to_image: Tensor, to_shared: Tensor
    ) -> tuple[Tensor | None, ...]:
        captions, targets, images, by_caption, by_image, counts = ctx.saved_tensors
        for_captions, for_targets = (
            torch.zeros_like(side, dtype=torch.float32) if needed else None
            for side, needed in zip((captions, targets), ctx.needs_input_grad, strict=False)
        )
        for rows, columns in _tiles(len(captions), ctx.block):
            scores = _multiply(captions[rows], targets[columns].T, ctx.rounded)
            slope = (scores - by_caption[rows].unsqueeze(1)).exp_().mul_(to_caption[rows].unsqueeze(1))
            if ctx.both_ways:
                slope += scores.sub_(by_image[columns]).exp_().mul_(to_image[columns])
            if images is not None:
                same = images[rows].unsqueeze(1) == images[columns]
                slope += same * (to_shared[rows] / counts[rows]).unsqueeze(1)
            if rows == columns:
                slope.diagonal().add_(to_own[rows])
            if for_captions is not None:
                for_captions[rows] += _multiply_slope(slope, targets[columns], ctx.rounded)
            if for_targets is not None:
                for_targets[columns] += _multiply_slope(slope.T, captions[rows], ctx.rounded)
        return for_captions, for_targets, None, None, None, None


def _tiles(rows: int, block: int) -> Iterator[tuple[slice, slice]]:
    starts = range(0, rows, block)
    return ((slice(i, i + block), slice(j, j + block)) for i in starts for j in starts)


def triplet(
    captions: Tensor, targets: Tensor, images: Tensor, margin: float, *, block: int, rounded: torch.dtype | None = None
) -> Tensor:
    """``hard_triplet`` on the scores ``captions @ targets.T``, of which batches of more than ``block`` rows hold tiles only.

    Args:
        captions: (n, d) float32.
        targets: (n, d) float32.
        images: (n,) int64.
        margin: in the units of the scores.
        block: rows and columns of a tile.
        rounded: as in :func:`products`.
    """
    if len(captions) <= block:
        return hard_triplet(products(captions, targets, rounded), images, margin)
    hardest_target, hardest_caption = _hardest(captions.detach(), targets.detach(), images, block, rounded)
    right = (captions * targets).sum(1)
    there = margin + _scores_with(captions, targets, hardest_target) - right
    back = margin + _scores_with(targets, captions, hardest_caption) - right
    return (there.clamp(min=0) + back.clamp(min=0)).mean()


def _hardest(
    captions: Tensor, targets: Tensor, images: Tensor, block: int, rounded: torch.dtype | None
) -> tuple[Tensor, Tensor]:
    """For each caption the highest target of another image, and for each target the highest caption; -1 where there is none."""
    best = [captions.new_full((len(captions),), float("-inf")) for _ in range(2)]
    place = [images.new_full((len(captions),), -1) for _ in range(2)]
    for rows, columns in _tiles(len(captions), block):
        same = images[rows].unsqueeze(1) == images[columns]
        scores = products(captions[rows], targets[columns], rounded).masked_fill_(same, float("-inf"))
        for side, (own, other, dim) in enumerate(((rows, columns, 1), (columns, rows, 0))):
            highest, where = scores.max(dim)
            place[side][own] = torch.where(highest > best[side][own], where + other.start, place[side][own])
            best[side][own] = torch.maximum(best[side][own], highest)
    return place[0], place[1]


def _scores_with(own: Tensor, others: Tensor, place: Tensor) -> Tensor:
    """(n,) score of each row with the row of ``others`` at its place; minus infinity where the place is -1."""
    # an embedding, because its gradient is summed in a fixed order on every device, unlike that of an index
    scores = (own * F.embedding(place.clamp(min=0), others)).sum(1)
    return scores.masked_fill(place < 0, float("-inf"))


def pairwise_sigmoid(
    captions: Tensor, targets: Tensor, images: Tensor, bias: Tensor, *, block: int, rounded: torch.dtype | None = None
) -> Tensor:
    """Sum over all pairs of -log sigmoid(±(score + bias)), plus for pairs of one image; large batches go by groups of rows.

    Args:
        captions: (n, d) float32, scaled.
        targets: (n, d) float32.
        images: (n,) int64.
        bias: scalar.
        block: a batch of more rows is computed in groups of about ``block`` squared scores.
        rounded: as in :func:`products`.
    """
    if len(captions) <= block:
        return _sigmoid_of_rows(captions, images, targets, images, bias, rounded)
    rows = max(1, block * block // len(captions))
    parts = [
        checkpoint(
            _sigmoid_of_rows,
            some,
            theirs,
            targets,
            images,
            bias,
            rounded,
            use_reentrant=False,
            preserve_rng_state=False,
        )
        for some, theirs in zip(captions.split(rows), images.split(rows), strict=True)
    ]
    return torch.stack(parts).sum()


def _sigmoid_of_rows(
    captions: Tensor, own: Tensor, targets: Tensor, images: Tensor, bias: Tensor, rounded: torch.dtype | None
) -> Tensor:
    signs = torch.where(own.unsqueeze(1) == images, 1.0, -1.0)
    return -F.logsigmoid(signs * (products(captions, targets, rounded) + bias)).sum()
