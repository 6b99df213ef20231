"""Closed-form linear maps: ridge regression and orthogonal Procrustes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from kaggle_kit.metrics import unit
from kaggle_kit.settings import POSITIVE, Section, setting
from kaggle_kit.translators.base import FitData, Translator, translators


class LinearMap(Translator):
    """x ↦ (unit(x) - centre) W + offset, with W found in closed form."""

    closed_form = True

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

    def _centre(self, data: FitData) -> tuple[Tensor, Tensor]:
        """Centred unit rows of both sides, one target row a caption; the means are kept.

        The targets' mean is not added back to a prediction unless an option asks for it: the gallery is compared as it is, so
        the common direction of all images only drowns what tells them apart.
        """
        self.text_mean.copy_(unit(data.text).mean(0))
        targets = unit(data.images)
        mean = targets[data.image_of_caption].mean(0)
        if getattr(self.options, "add_mean", False):
            self.offset.copy_(mean)
        return self.encode_text(data.text), (targets - mean)[data.image_of_caption]


@dataclass(frozen=True)
class RidgeOptions(Section):
    """Options of ridge regression."""

    strength: float = setting(0.3, "weight of the penalty on W, in units of squared unit rows", POSITIVE)
    add_mean: bool = setting(False, "add the mean of the image vectors back to the output")


@translators.register("ridge", recipe="ridge")
class Ridge(LinearMap):
    """Ridge regression of centred unit image vectors on centred unit text vectors: W = (XᵀX + λI)⁻¹ XᵀY.

    Source: Hoerl and Kennard, Ridge Regression: Biased Estimation for Nonorthogonal Problems, Technometrics 1970.
    """

    Options = RidgeOptions

    def prepare(self, data: FitData) -> None:
        """Solve for W in float64 through the normal equations, (d_text, d_text)."""
        x, y = self._centre(data)
        gram = (x.T @ x).double()
        gram.diagonal().add_(self.options.strength)
        self.weight.copy_(torch.linalg.solve(gram, (x.T @ y).double()))


@dataclass(frozen=True)
class ProcrustesOptions(Section):
    """Options of orthogonal Procrustes."""

    add_mean: bool = setting(False, "add the mean of the image vectors back to the output")


@translators.register("procrustes", recipe="procrustes")
class Procrustes(LinearMap):
    """The orthogonal map closest to the pairs: W = UVᵀ of the thin SVD of XᵀY, on centred unit rows.

    With unequal dimensions W has orthonormal rows (d_text ≤ d_image) or columns (d_text > d_image).
    Source: Schönemann, A generalized solution of the orthogonal Procrustes problem, Psychometrika 1966.
    """

    Options = ProcrustesOptions

    def prepare(self, data: FitData) -> None:
        """Solve for W by one thin SVD of the (d_text, d_image) cross-covariance, in float64."""
        x, y = self._centre(data)
        left, _, right = torch.linalg.svd((x.T @ y).double(), full_matrices=False)
        self.weight.copy_(left @ right)
