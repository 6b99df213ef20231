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
        share: how much of each row is its own; a float32 scalar on the device where the step is recorded.
    """

    partners: Tensor
    share: float | Tensor


def symmetric_infonce(logits: Tensor) -> Tensor:
    """Cross-entropy of the right entry by rows and by columns, averaged.

    Args:
        logits: (batch, batch) float32 scaled similarities, caption by image, the right image on the diagonal.

    Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021.
    """
    return (logits.logsumexp(1).mean() + logits.logsumexp(0).mean()) / 2 - logits.diagonal().mean()
