"""Losses over the outputs of a translator and the targets of a batch, by name.

Every loss computes in float32 whatever the network's precision. Outputs are scaled to unit length here; targets arrive as
``Translator.encode_images`` made them (of unit length, or the projection of unit vectors) and are left alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_kit.metrics import unit
from kaggle_kit.registry import Registry
from kaggle_kit.settings import POSITIVE, Section, between, setting

MAX_LOG_SCALE = math.log(200.0)
"""A learnable temperature stays above 1/200: the scale of CLIP (Radford et al. 2021) explodes in fp16 without a clamp."""


class Loss(nn.Module):
    """Base of all losses; parameters of a loss (a learnable temperature) are trained with the translator's."""

    Options: ClassVar[type[Section]] = Section

    def __init__(self, options: Section) -> None:
        super().__init__()
        self.options = options

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """The loss of a batch, a float32 scalar.

        Args:
            outputs: (batch, d) of the translator, any float dtype.
            targets: (batch, d) float32, the encoded image of each caption.
            images: (batch,) int64, the image of each caption: equal numbers are captions of one image.
        """
        raise TypeError(f"{type(self).__name__} defines no forward")


losses: Registry[type[Loss]] = Registry("loss")


def build_loss(name: str, options: Mapping[str, Any]) -> Loss:
    """The registered loss ``name``.

    Raises:
        UsageError: no loss has that name.
        ConfigError: an option's value breaks its rule.
    """
    kind = losses[name]
    return kind(kind.Options(**options))


@losses.register("cosine")
class CosineLoss(Loss):
    """1 - cosine similarity, the baseline's regression loss."""

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Mean over the batch of 1 - cos(output, target)."""
        return (1 - F.cosine_similarity(outputs.float(), targets.float(), dim=1)).mean()


@losses.register("mse")
class MseLoss(Loss):
    """Squared Euclidean distance of the raw output to the target, mean over rows and dimensions."""

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(outputs.float(), targets.float())


@dataclass(frozen=True)
class InfoNceOptions(Section):
    """Options of the InfoNCE family."""

    temperature: float = setting(
        0.07, "temperature that similarities are divided by (the start, when learnable)", POSITIVE
    )
    learnable_temperature: bool = setting(False, "train the temperature (clamped at 1/200) with the weights")
    label_smoothing: float = setting(0.0, "share of the target spread over all images of the batch", between(0, 1))


class _Contrastive(Loss):
    """Shared by the InfoNCE family: unit outputs against the batch's targets, scaled by the temperature."""

    Options = InfoNceOptions

    def __init__(self, options: InfoNceOptions) -> None:
        super().__init__(options)
        start = torch.tensor(-math.log(options.temperature))
        if options.learnable_temperature:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)

    def _logits(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """(batch, d) and (batch, d) → (batch, batch) float32 scaled similarities, caption by image."""
        return unit(outputs) @ targets.float().T * self.log_scale.clamp(max=MAX_LOG_SCALE).exp()


@losses.register("infonce")
class InfoNce(_Contrastive):
    """One-sided InfoNCE, caption to image, every other row of the batch a negative, as in the original model.

    Source: van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018.
    """

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Cross-entropy of each caption's own row."""
        logits = self._logits(outputs, targets)
        rows = torch.arange(len(logits), device=logits.device)
        return F.cross_entropy(logits, rows, label_smoothing=self.options.label_smoothing)


@losses.register("infonce_symmetric")
class SymmetricInfoNce(_Contrastive):
    """InfoNCE both ways, caption to image and image to caption, averaged.

    Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021.
    """

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Mean of the two cross-entropies."""
        logits = self._logits(outputs, targets)
        rows = torch.arange(len(logits), device=logits.device)
        smoothing = self.options.label_smoothing
        there = F.cross_entropy(logits, rows, label_smoothing=smoothing)
        back = F.cross_entropy(logits.T, rows, label_smoothing=smoothing)
        return (there + back) / 2


@losses.register("infonce_multi_positive")
class MultiPositiveInfoNce(_Contrastive):
    """Symmetric InfoNCE in which captions of one image are never negatives of each other.

    Each row's target is spread evenly over all rows of its image.
    Source: Khosla et al., Supervised Contrastive Learning (L_out), 2020.
    """

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Mean of the two cross-entropies against the shared targets."""
        logits = self._logits(outputs, targets)
        same = (images.unsqueeze(0) == images.unsqueeze(1)).float()  # (batch, batch)
        wanted = same / same.sum(1, keepdim=True)
        smoothing = self.options.label_smoothing
        return (
            F.cross_entropy(logits, wanted, label_smoothing=smoothing)
            + F.cross_entropy(logits.T, wanted, label_smoothing=smoothing)
        ) / 2
