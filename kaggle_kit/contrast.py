"""Contrastive terms over a batch's score matrix: pure functions that losses and translators share."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


def same_image(images: Tensor) -> Tensor:
    """(batch,) int64 → (batch, batch) bool, True where two rows are of one image."""
    return images.unsqueeze(0) == images.unsqueeze(1)


def hard_triplet(scores: Tensor, images: Tensor, margin: float) -> Tensor:
    """Hinge with the hardest negative of the batch, both ways; captions of one image are never negatives of each other.

    Args:
        scores: (batch, batch) float32, caption by image, the right image on the diagonal.
        images: (batch,) int64.
        margin: in the units of ``scores``.

    Source: Faghri et al., VSE++: Improving Visual-Semantic Embeddings with Hard Negatives, BMVC 2018.
    """
    right = scores.diagonal()
    wrong = scores.masked_fill(same_image(images), float("-inf"))
    there = (margin + wrong.amax(1) - right).clamp(min=0)
    back = (margin + wrong.amax(0) - right).clamp(min=0)
    return (there + back).mean()


@dataclass(frozen=True)
class Mix:
    """Rows of a batch that are mixtures of two captions.

    Attributes:
        partners: (batch,) int64, a permutation: the row that each row is mixed with.
        share: how much of each row is its own.
    """

    partners: Tensor
    share: float


def symmetric_infonce(
    logits: Tensor, *, label_smoothing: float = 0.0, mix: Mix | None = None, image_weight: float = 1.0
) -> Tensor:
    """Cross-entropy of the right entry by rows and by columns, averaged; mixed rows are held to both of their images.

    With the partners a permutation of the batch, every column is somebody's partner once, so both directions need the same sums:
    the mean over rows and columns of their log-sum-exp, less the mean score of the right entries.

    Args:
        logits: (batch, batch) float32 scaled similarities, caption by image, the right image on the diagonal.
        label_smoothing: share of the target spread over all entries.
        mix: which rows are mixtures.
        image_weight: weight of the columns (image to caption) beside that of the rows, which is 1.

    Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021; of the two-target loss: Zhang et
    al., mixup, 2018.
    """
    columns = logits.logsumexp(0).mean() * image_weight if image_weight else 0.0
    normalisers = (logits.logsumexp(1).mean() + columns) / (1 + image_weight)
    right = logits.diagonal().mean()
    if mix is not None:
        other = logits.gather(1, mix.partners.unsqueeze(1)).mean()
        right = mix.share * right + (1 - mix.share) * other
    if label_smoothing:
        right = (1 - label_smoothing) * right + label_smoothing * logits.mean()
    return normalisers - right
