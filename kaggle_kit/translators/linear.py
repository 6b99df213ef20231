"""Closed-form linear maps: orthogonal Procrustes, least squares made orthogonal, ridge and whitened ridge.

All work on centred unit rows, one target row a caption, and leave the targets' mean off a prediction: the gallery is compared as it is,
so the direction that all images share only drowns what tells them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kaggle_kit.metrics import unit
from kaggle_kit.settings import POSITIVE, Section, at_least, between, setting
from kaggle_kit.translators.base import FitData, Translator, translators
from kaggle_kit.translators.closed_form import Moments, Spectrum, fit_whitened_ridge, mean_row


class LinearMap(Translator):
    """x ↦ (unit(x) - mean) W + offset, with W found in closed form."""

    closed_form = True
    text_mean: Tensor
    weight: Tensor
    offset: Tensor

    def __init__(self, d_text: int, d_image: int, options: Section) -> None:
        super().__init__(d_text, d_image, options)
        self.register_buffer("text_mean", torch.zeros(d_text))
        self.register_buffer("weight", torch.zeros(d_text, d_image))
        self.register_buffer("offset", torch.zeros(d_image))

    def encode_text(self, text: Tensor) -> Tensor:
        """(n, d_text) → (n, d_text): unit length, then the training captions' mean taken off."""
        return unit(text) - self.text_mean

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image)."""
        return inputs @ self.weight + self.offset

    def _moments(self, data: FitData) -> Moments:
        """What the closed forms need of the data; the means are kept on the way."""
        self.text_mean.copy_(mean_row(unit(data.text), data.weight))
        moments = Moments.of(self.encode_text(data.text), unit(data.images), data.image_of_caption, data.weight)
        if getattr(self.options, "add_mean", False):
            self.offset.copy_(moments.image_mean)
        return moments


@dataclass(frozen=True)
class MeanOptions(Section):
    """Options shared by the closed forms without anything to choose."""

    add_mean: bool = setting(False, "add the mean of the image vectors back to the output")


@translators.register("procrustes", recipe="procrustes")
class Procrustes(LinearMap):
    """The orthogonal map closest to the pairs: W = UVᵀ of the thin SVD of XᵀY, on centred unit rows.

    With unequal dimensions W has orthonormal rows (d_text ≤ d_image) or columns (d_text > d_image).
    Source: Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 1966.
    """

    recordable = True
    Options = MeanOptions

    def prepare(self, data: FitData) -> None:
        """Solve for W by one thin SVD of the (d_text, d_image) cross-covariance, in float64."""
        self.weight.copy_(_polar_factor(self._moments(data).cross))


@translators.register("orthogonal_linear", recipe="orthogonal_linear")
class OrthogonalLinear(LinearMap):
    """Least squares, then the orthogonal map nearest to it: the polar factor of W = (XᵀX)⁺XᵀY.

    Source: Higham, Computing the Polar Decomposition, SIAM Journal on Scientific and Statistical Computing 1986.
    """

    Options = MeanOptions

    def prepare(self, data: FitData) -> None:
        """Least squares through the normal equations, eigenvalues below 1e-6 of the largest left out; then its polar factor."""
        moments = self._moments(data)
        values, vectors = torch.linalg.eigh(moments.gram)
        kept = values > 1e-6 * values[-1]
        inverse = torch.where(kept, 1 / values.clamp(min=1e-300), torch.zeros_like(values))
        self.weight.copy_(_polar_factor(vectors @ (inverse.unsqueeze(1) * (vectors.T @ moments.cross))))


def _polar_factor(matrix: Tensor) -> Tensor:
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    return left @ right


@dataclass(frozen=True)
class RidgeOptions(Section):
    """Options of ridge regression."""

    strength: float = setting(0.3, "weight of the penalty on W, in units of squared unit rows", POSITIVE)
    add_mean: bool = setting(False, "add the mean of the image vectors back to the output")


@translators.register("ridge", recipe="ridge")
class Ridge(LinearMap):
    """Ridge regression of centred unit image vectors on centred unit text vectors: W = (XᵀX + λI)⁻¹XᵀY.

    Source: Hoerl and Kennard, Ridge Regression: Biased Estimation for Nonorthogonal Problems, Technometrics 1970.
    """

    Options = RidgeOptions
    options: RidgeOptions

    def prepare(self, data: FitData) -> None:
        """Solve for W in float64 through the normal equations, (d_text, d_text)."""
        moments = self._moments(data)
        moments.gram.diagonal().add_(self.options.strength)
        self.weight.copy_(torch.linalg.solve(moments.gram, moments.cross))


@dataclass(frozen=True)
class WhitenedRidgeOptions(Section):
    """Options of whitened ridge regression; what is none is chosen on a part of the training images held out for it."""

    strength: float | None = setting(
        None, "penalty on W, as a share of the mean diagonal of the Gram matrix; none: chosen", POSITIVE
    )
    exponent: float | None = setting(
        None, "power of the image covariance divided out, .5 whitens; none: chosen", between(0, 1)
    )
    lift: float = setting(
        0.01, "what is added to each eigenvalue of the covariance, as a share of their mean", POSITIVE
    )


@translators.register("whitened_ridge", recipe="whitened_ridge")
class WhitenedRidge(LinearMap):
    """Ridge regression whose output is multiplied by C^(-a), C the covariance of the unit image vectors.

    A regression puts its output where the images vary most; dividing the covariance out turns it into a retrieval map, in which every
    direction that tells images apart counts. On this kind of data it is worth 0.07 of MRR, without any gradient.
    """

    Options = WhitenedRidgeOptions
    options: WhitenedRidgeOptions

    def prepare(self, data: FitData) -> None:
        """Choose strength and exponent where they are none, then solve on all of the fold's training pairs."""
        self._fit(data, unit(data.text), self.text_mean)

    def _fit(self, data: FitData, x: Tensor, mean: Tensor) -> None:
        """Whitened ridge on the captions' features x, (n, d); their mean is kept in ``mean``."""
        images = unit(data.images)
        weight, centre = fit_whitened_ridge(x, images, data, Spectrum.of(images), self.options)
        self.weight.copy_(weight)
        mean.copy_(centre)


@dataclass(frozen=True)
class RandomFeatureOptions(WhitenedRidgeOptions):
    """Options of random-feature ridge regression."""

    features: int = setting(4096, "random features added to the text embedding", at_least(1))


@translators.register("random_feature_ridge", recipe="random_feature_ridge")
class RandomFeatureRidge(WhitenedRidge):
    """Whitened ridge regression on [x, ReLU(xG)/√m] with a Gaussian G: closed form, and not linear in the text.

    Source: Rahimi and Recht, Random Features for Large-Scale Kernel Machines, NeurIPS 2007.
    """

    Options = RandomFeatureOptions
    projection: Tensor
    feature_mean: Tensor

    def __init__(self, d_text: int, d_image: int, options: RandomFeatureOptions) -> None:
        super().__init__(d_text, d_image, options)
        width = d_text + options.features
        self.register_buffer("projection", torch.zeros(d_text, options.features))
        self.register_buffer("weight", torch.zeros(width, d_image))
        self.register_buffer("feature_mean", torch.zeros(width))

    def encode_text(self, text: Tensor) -> Tensor:
        """(n, d_text) → (n, d_text + features), the training captions' mean taken off."""
        return self._features(unit(text)) - self.feature_mean

    def _features(self, x: Tensor) -> Tensor:
        random = torch.relu(x @ self.projection) * self.projection.shape[1] ** -0.5
        return torch.cat([x, random], 1)

    def prepare(self, data: FitData) -> None:
        """Draw G, so that x·g has unit variance for unit x, then as whitened ridge on the features."""
        generator = torch.Generator().manual_seed(data.seed)
        self.projection.copy_(torch.randn(self.projection.shape, generator=generator))
        self._fit(data, self._features(unit(data.text)), self.feature_mean)
