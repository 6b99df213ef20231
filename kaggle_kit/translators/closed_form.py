"""What the closed forms share: moments of the data, the whitening of the image space, and the choice of their two numbers."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from kaggle_kit.metrics import gallery_mrr
from kaggle_kit.translators.base import FitData

STRENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
"""Penalties tried, as shares of the mean diagonal of the Gram matrix: the same for every scale and number of captions."""
EXPONENTS = (0.0, 0.25, 0.4, 0.5, 0.6, 0.75)
HELD_OUT = 0.2
FEWEST_IMAGES = 20
MIDDLE = (0.1, 0.5)
"""Strength and exponent where there are too few images to choose by."""
DRAWS = 2
FEWEST_LOOKS = 1500
"""Rankings that a choice goes by at least: of few held-out images, more captions. With 518, one seed in six was far off."""
MOST_CHECKED = 2048
"""Held-out captions that the choice looks at: neighbours in the grid differ by less than its noise anyway."""
BLOCK_ROWS = 16_384


@dataclass(frozen=True)
class Moments:
    """Second moments of captions and of their images, in float64.

    Attributes:
        gram: (d, d), XᵀX.
        cross: (d, d_image), XᵀY with Y the centred image row of each caption.
        image_mean: (d_image,), the mean image row over captions.
    """

    gram: Tensor
    cross: Tensor
    image_mean: Tensor

    @staticmethod
    def of(x: Tensor, images: Tensor, image_of_caption: Tensor, weight: Tensor | None = None) -> Moments:
        """Moments of centred captions x (n, d) and unit images (m, d_image); memory stays at a block of captions.

        Products run in float32 over blocks and are summed in float64: the rows are of unit length, so nothing is lost that matters.
        """
        each = torch.ones(len(x), device=x.device) if weight is None else weight
        counts = _summed(each.double(), image_of_caption, len(images)).to(images.dtype)
        mean = (counts @ images) / counts.sum()
        # captions of one image share its row, so their sum is all that the cross moment needs: (images, d)
        summed = _summed(x if weight is None else x * weight.unsqueeze(1), image_of_caption, len(images))
        gram = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64, device=x.device)
        for start in range(0, len(x), BLOCK_ROWS):
            block = x[start : start + BLOCK_ROWS]
            weighted = block if weight is None else block * weight[start : start + BLOCK_ROWS].unsqueeze(1)
            gram += (weighted.T @ block).double()
        return Moments(gram=gram, cross=(summed.T @ (images - mean)).double(), image_mean=mean)


@dataclass(frozen=True)
class Spectrum:
    """Principal directions of the image vectors.

    Attributes:
        values: (d_image,) float32 eigenvalues of the covariance, rising.
        axes: (d_image, d_image) float32, a direction a column.
    """

    values: Tensor
    axes: Tensor

    @staticmethod
    def of(images: Tensor) -> Spectrum:
        """Of unit rows (m, d_image); float32 will do, for the small eigenvalues are lifted before they are used."""
        spread = images - images.mean(0)
        return Spectrum(*torch.linalg.eigh(spread.T @ spread / len(images)))

    def scales(self, exponent: float, lift: float) -> Tensor:
        """What C^(-exponent) multiplies each direction by, 1 on average: the unit changes no ranking. (d_image,) float32."""
        lifted = (self.values.clamp(min=0) + lift * self.values.mean()).clamp(min=1e-30)
        return (lifted / lifted.mean()) ** -exponent

    def whitening(self, exponent: float, lift: float) -> Tensor:
        """C^(-exponent) with its small eigenvalues lifted by ``lift`` times their mean: (d_image, d_image) float32."""
        return (self.axes * self.scales(exponent, lift)) @ self.axes.T


class RidgeChoices(Protocol):
    """The options that ``choose_ridge`` settles."""

    @property
    def strength(self) -> float | None:
        """Given penalty as a share of the Gram matrix's mean diagonal, or None."""

    @property
    def exponent(self) -> float | None:
        """Given exponent, or None."""

    @property
    def lift(self) -> float:
        """Lift of the eigenvalues."""


def choose_ridge(
    x: Tensor, images: Tensor, data: FitData, spectrum: Spectrum, options: RidgeChoices
) -> tuple[float, float]:
    """Ridge strength and whitening exponent by MRR in galleries of held-out training images.

    One eigendecomposition serves every strength and one every exponent, so the search costs little more than a single fit.

    Args:
        x: (n, d) float32 captions, not centred.
        images: (m, d_image) float32 unit rows.
        data: which caption belongs to which image, how much it counts, and the seed of who is held out.
        spectrum: of ``images``.
        options: what is given there is kept.
    """
    held = np.zeros(len(images), dtype=bool)
    held[np.random.default_rng(data.seed).permutation(len(images))[: max(2, round(HELD_OUT * len(images)))]] = True
    held_caption = torch.from_numpy(held).to(x.device)[data.image_of_caption]
    fit, check = (~held_caption).nonzero().squeeze(1), held_caption.nonzero().squeeze(1)
    # evenly spaced, so that every held-out image keeps some of its captions
    check = check[:: max(1, -(-len(check) // MOST_CHECKED))]
    weight = None if data.weight is None else data.weight[fit]
    mean = mean_row(x[fit], weight)
    moments = Moments.of(x[fit] - mean, *_own_images(images, data.image_of_caption[fit]), weight)
    values, vectors = torch.linalg.eigh(moments.gram.float())
    rotated = vectors.T @ moments.cross.float() @ spectrum.axes  # text axes by image axes
    inputs = (x[check] - mean) @ vectors
    shown, index = _own_images(images, data.image_of_caption[check])
    shown, truth = shown @ spectrum.axes, index.cpu().numpy()
    draws = max(DRAWS, math.ceil(FEWEST_LOOKS / len(shown)))

    @cache
    def predicted(strength: float) -> Tensor:
        return (inputs / (values.clamp(min=0) + strength * values.mean())) @ rotated

    @cache
    def mrr(strength: float, exponent: float) -> float:
        scaled = predicted(strength) * spectrum.scales(exponent, options.lift)
        return gallery_mrr(scaled, shown, truth, draws=draws, seed=data.seed).mrr

    strengths = STRENGTHS if options.strength is None else (options.strength,)
    exponents = EXPONENTS if options.exponent is None else (options.exponent,)
    return _climb(mrr, strengths, exponents)


def _climb(
    score: Callable[[float, float], float], strengths: tuple[float, ...], exponents: tuple[float, ...]
) -> tuple[float, float]:
    """The best pair found by turns: the strengths at one exponent, the exponents at that strength, until neither moves."""
    exponent, chosen = exponents[len(exponents) // 2], None
    while True:
        strength = max(strengths, key=lambda value: score(value, exponent))
        exponent = max(exponents, key=lambda value: score(strength, value))
        if (strength, exponent) == chosen:
            return strength, exponent
        chosen = (strength, exponent)


def fit_whitened_ridge(
    x: Tensor, images: Tensor, data: FitData, spectrum: Spectrum, options: RidgeChoices
) -> tuple[Tensor, Tensor]:
    """Whitened ridge on captions x (n, d), strength and exponent chosen where the options leave them open.

    Returns:
        The map (d, d_image) float32 for captions with their mean taken off, and that mean (d,).
    """
    strength, exponent = options.strength, options.exponent
    if len(images) < FEWEST_IMAGES:
        strength, exponent = strength or MIDDLE[0], MIDDLE[1] if exponent is None else exponent
    elif strength is None or exponent is None:
        strength, exponent = choose_ridge(x, images, data, spectrum, options)
    mean = mean_row(x, data.weight)
    moments = Moments.of(x - mean, images, data.image_of_caption, data.weight)
    diagonal = moments.gram.diagonal()
    diagonal.add_(strength * diagonal.mean())
    weight = torch.linalg.solve(moments.gram, moments.cross).float()
    return weight @ spectrum.whitening(exponent, options.lift), mean


def mean_row(rows: Tensor, weight: Tensor | None) -> Tensor:
    """The mean of rows (n, d) by their weights (n,), all alike when None: (d,)."""
    return rows.mean(0) if weight is None else weight.to(rows.dtype) @ rows / weight.sum()


def _summed(rows: Tensor, index: Tensor, count: int) -> Tensor:
    """Sums of the rows (n, …) of each index (n,) int64: (count, …). On a GPU, too, in a fixed order, unlike ``index_add_`` there."""
    total = rows.new_zeros(count, *rows.shape[1:])
    return total.index_put_((index,), rows, accumulate=True) if rows.is_cuda else total.index_add_(0, index, rows)


def _own_images(images: Tensor, image_of_caption: Tensor) -> tuple[Tensor, Tensor]:
    """The images that the captions belong to, and the captions' index into them."""
    used, index = image_of_caption.unique(return_inverse=True)
    return images[used], index
