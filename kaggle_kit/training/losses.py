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

from kaggle_kit.contrast import Mix
from kaggle_kit.metrics import unit
from kaggle_kit.registry import Registry, says_of_itself
from kaggle_kit.settings import POSITIVE, Section, at_least, between, setting
from kaggle_kit.training.blocks import pairwise_sigmoid, score_sums, triplet

LEAST_TEMPERATURE = 0.005
"""A learnable temperature stays above 1/200: the scale of CLIP (Radford et al. 2021) explodes in fp16 without a clamp."""


class Loss(nn.Module):
    """Base of all losses; parameters of a loss (a learnable temperature) are trained with the translator's."""

    Options: ClassVar[type[Section]] = Section
    recordable: ClassVar[bool] = False
    """As of a translator: whether it does the same work on the device each time. Of ``forward`` and ``mixed`` of the class that says it:
    a subclass with other ones has to say it again."""
    takes_short_targets: ClassVar[bool] = False
    """Whether targets enter scores alone in ``forward``, so that they may come in the format ``rounded``; to be said again as above."""

    rounded: torch.dtype | None = None
    """Short format in which scores are multiplied, see :func:`kaggle_kit.training.blocks.products`; set by the training."""

    fused = False
    """Whether kernels may compute it where they can; set by the training."""

    @property
    def bears_recording(self) -> bool:
        """Whether ``recordable`` is said of its methods."""
        return says_of_itself(type(self), "recordable", "forward", "mixed")

    @property
    def rounds_targets(self) -> bool:
        """Whether it does nothing with targets but to round them."""
        return says_of_itself(type(self), "takes_short_targets", "forward")

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

    @property
    def learnt_temperature(self) -> float | None:
        """What similarities are divided by after the steps so far; None where that is not trained. Waits for the device."""
        return None

    def mixed(self, outputs: Tensor, targets: Tensor, images: Tensor, mix: Mix) -> Tensor:
        """The loss of a batch whose rows are mixtures: held to both images, by how much each is in it."""
        own = self(outputs, targets, images)
        other = self(outputs, targets[mix.partners], images[mix.partners])
        return mix.share * own + (1 - mix.share) * other


def _inverse(scale: Tensor) -> float:
    """Infinity of a scale that went to nothing, which is a training that diverged."""
    value = scale.item()
    return 1.0 / value if value else math.inf


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

    recordable = True

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Mean over the batch of 1 - cos(output, target)."""
        return (1 - F.cosine_similarity(outputs.float(), targets.float(), dim=1)).mean()


@losses.register("mse")
class MseLoss(Loss):
    """Squared Euclidean distance of the raw output to the target, mean over rows and dimensions."""

    recordable = True

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Mean squared error."""
        return F.mse_loss(outputs.float(), targets.float())


@dataclass(frozen=True)
class ContrastiveOptions(Section):
    """What all losses over the scores of a batch share."""

    block: int | None = setting(
        None,
        "largest batch whose scores are held in memory all at once; those of a larger one come in tiles of so many rows and "
        "columns, and once more for the gradient; none: 2048, and 8192 on a GPU",
        at_least(1),
    )

    def tile(self, outputs: Tensor) -> int:
        """``block``, or what suits the device of the outputs."""
        return self.block or (8192 if outputs.is_cuda else 2048)


@dataclass(frozen=True)
class InfoNceOptions(ContrastiveOptions):
    """Options of the InfoNCE family."""

    temperature: float = setting(
        0.07, "temperature that similarities are divided by (the start, when learnable)", POSITIVE
    )
    learnable_temperature: bool = setting(False, "train the temperature with the weights")
    least_temperature: float = setting(LEAST_TEMPERATURE, "where a learnable temperature is clamped", POSITIVE)
    label_smoothing: float = setting(0.0, "share of the target spread over all images of the batch", between(0, 1))


class _Contrastive(Loss):
    """Shared by the InfoNCE family: unit outputs against the batch's targets, scaled by the temperature."""

    Options = InfoNceOptions
    options: InfoNceOptions

    def __init__(self, options: InfoNceOptions) -> None:
        super().__init__(options)
        start = torch.tensor(-math.log(options.temperature))
        if options.learnable_temperature:
            self.log_scale = nn.Parameter(start)
        else:
            self.register_buffer("log_scale", start)

    def _scaled(self, outputs: Tensor) -> Tensor:
        """(batch, d) → (batch, d) float32 unit rows over the temperature: their products with the targets are the logits."""
        return unit(outputs, self._scale())

    def _scale(self) -> Tensor:
        return self.log_scale.clamp(max=-math.log(self.options.least_temperature)).exp()

    @property
    def learnt_temperature(self) -> float | None:
        """As in the base."""
        return _inverse(self._scale()) if self.options.learnable_temperature else None

    @property
    def rounds_targets(self) -> bool:
        """As in the base, unless a share of the target is spread."""
        return super().rounds_targets and self.options.label_smoothing == 0

    def _by_kernels(self, outputs: Tensor, targets: Tensor, image_weight: float) -> Tensor | None:
        """The loss where kernels know it and a gradient is wanted; None: it is to be computed otherwise."""
        whole = len(outputs) <= self.options.tile(outputs)
        if not (self.fused and whole and outputs.requires_grad and self.options.label_smoothing == 0):
            return None
        from kaggle_kit.training.fused_scores import infonce  # needs Triton

        most = -math.log(self.options.least_temperature)
        return infonce(outputs, targets, self.log_scale, most=most, image_weight=image_weight)

    def _smoothed(self, right: Tensor, scaled: Tensor, targets: Tensor) -> Tensor:
        """Mean logit under the targets' distribution: that of the right entries, and a share of that of all entries."""
        smoothing = self.options.label_smoothing
        if not smoothing:
            return right
        return (1 - smoothing) * right + smoothing * (scaled.mean(0) * targets.mean(0)).sum()


@losses.register("infonce")
class InfoNce(_Contrastive):
    """One-sided InfoNCE, caption to image, every other row of the batch a negative, as in the original model.

    Source: van den Oord et al., Representation Learning with Contrastive Predictive Coding, 2018.
    """

    recordable = takes_short_targets = True

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Cross-entropy of each caption's own row."""
        quick = self._by_kernels(outputs, targets, 0.0)
        if quick is not None:
            return quick
        scaled, targets = self._scaled(outputs), targets.float()
        sums = score_sums(scaled, targets, block=self.options.tile(outputs), both_ways=False, rounded=self.rounded)
        return sums.by_caption.mean() - self._smoothed(sums.own.mean(), scaled, targets)


@dataclass(frozen=True)
class SymmetricInfoNceOptions(InfoNceOptions):
    """Options of InfoNCE both ways."""

    image_weight: float = setting(1.0, "weight of image to caption beside caption to image, which has 1", at_least(0))


@losses.register("infonce_symmetric")
class SymmetricInfoNce(_Contrastive):
    """InfoNCE both ways, caption to image and image to caption, averaged.

    Source: Radford et al., Learning Transferable Visual Models From Natural Language Supervision, 2021.
    """

    recordable = takes_short_targets = True
    Options = SymmetricInfoNceOptions
    options: SymmetricInfoNceOptions

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Weighted mean of the two cross-entropies."""
        return self._both_ways(outputs, targets, None)

    def mixed(self, outputs: Tensor, targets: Tensor, images: Tensor, mix: Mix) -> Tensor:
        """Both targets from one score matrix (Zhang et al., mixup, 2018)."""
        return self._both_ways(outputs, targets, mix)

    def _both_ways(self, outputs: Tensor, targets: Tensor, mix: Mix | None) -> Tensor:
        """Every image is somebody's partner once, so the mean right logit is the same by captions and by images."""
        weight = self.options.image_weight
        quick = self._by_kernels(outputs, targets, weight) if mix is None else None
        if quick is not None:
            return quick
        scaled, targets = self._scaled(outputs), targets.float()
        sums = score_sums(scaled, targets, block=self.options.tile(outputs), both_ways=weight > 0, rounded=self.rounded)
        normalisers = sums.by_caption.mean()
        if sums.by_image is not None:
            normalisers = (normalisers + weight * sums.by_image.mean()) / (1 + weight)
        right = sums.own
        if mix is not None:
            right = torch.lerp((scaled * targets[mix.partners]).sum(1), right, mix.share)
        return normalisers - self._smoothed(right.mean(), scaled, targets)


@losses.register("infonce_multi_positive")
class MultiPositiveInfoNce(_Contrastive):
    """Symmetric InfoNCE in which captions of one image are never negatives of each other.

    Each row's target is spread evenly over all rows of its image.
    Source: Khosla et al., Supervised Contrastive Learning (L_out), 2020.
    """

    recordable = takes_short_targets = True

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Mean of the two cross-entropies against the shared targets."""
        scaled, targets = self._scaled(outputs), targets.float()
        sums = score_sums(scaled, targets, block=self.options.tile(outputs), images=images, rounded=self.rounded)
        assert sums.by_image is not None
        assert sums.shared is not None
        normalisers = (sums.by_caption.mean() + sums.by_image.mean()) / 2
        return normalisers - self._smoothed(sums.shared.mean(), scaled, targets)


@dataclass(frozen=True)
class TripletOptions(ContrastiveOptions):
    """Options of the hard-negative triplet."""

    margin: float = setting(0.2, "how far the right image must lie above the hardest wrong one", at_least(0))
    target_scale: float = setting(
        1.0, "length that targets are scaled to: 25.9 makes unit rows the real competition's", POSITIVE
    )


@losses.register("triplet")
class HardTriplet(Loss):
    """Hinge with the hardest negative in the batch, both ways.

    Source: Faghri et al., VSE++: Improving Visual-Semantic Embeddings with Hard Negatives, BMVC 2018.
    """

    recordable = True
    Options = TripletOptions
    options: TripletOptions

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Sum of both ways, mean over the batch."""
        scaled = targets.float() * self.options.target_scale
        return triplet(
            unit(outputs), scaled, images, self.options.margin, block=self.options.tile(outputs), rounded=self.rounded
        )


@dataclass(frozen=True)
class TripletMseOptions(TripletOptions):
    """Options of triplet plus MSE; the defaults are those of the team that used it, on unit targets."""

    margin: float = setting(1.164, "how far the right image must lie above the hardest wrong one", at_least(0))
    target_scale: float = setting(25.9, "length that targets are scaled to in the triplet", POSITIVE)
    mse_weight: float = setting(7.88, "weight of the squared error between unit vectors", at_least(0))


@losses.register("triplet_mse")
class TripletMse(HardTriplet):
    """Hard-negative triplet plus a squared error between unit vectors, as a team of the real competition trained."""

    recordable = True
    Options = TripletMseOptions
    options: TripletMseOptions

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """The triplet on scaled targets plus the weighted squared error."""
        squared = F.mse_loss(unit(outputs), unit(targets))
        return super().forward(outputs, targets, images) + self.options.mse_weight * squared


@dataclass(frozen=True)
class InfoNceTripletOptions(SymmetricInfoNceOptions):
    """Options of InfoNCE with a hard triplet."""

    temperature: float = setting(
        0.01, "temperature that similarities are divided by (the start, when learnable)", POSITIVE
    )
    learnable_temperature: bool = setting(True, "train the temperature with the weights")
    infonce_weight: float = setting(0.7, "weight of the symmetric InfoNCE", at_least(0))
    triplet_weight: float = setting(0.3, "weight of the hard-negative triplet", at_least(0))
    margin: float = setting(0.06, "margin of the triplet, in cosines", at_least(0))


@losses.register("infonce_triplet")
class InfoNceTriplet(SymmetricInfoNce):
    """Symmetric InfoNCE mixed with the hard-negative triplet, the loss of the VAE-style translators."""

    recordable = True
    Options = InfoNceTripletOptions
    options: InfoNceTripletOptions

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Weighted sum of the two."""
        options = self.options
        hinge = triplet(
            unit(outputs), unit(targets), images, options.margin, block=options.tile(outputs), rounded=self.rounded
        )
        contrast = super().forward(outputs, targets, images)
        return options.infonce_weight * contrast + options.triplet_weight * hinge

    mixed = Loss.mixed


@dataclass(frozen=True)
class SigLipOptions(ContrastiveOptions):
    """Options of the pairwise sigmoid loss; scale and bias are trained."""

    scale: float = setting(10.0, "what similarities are multiplied by at the start", POSITIVE)
    bias: float = setting(-10.0, "what is added to the scaled similarities at the start")


@losses.register("siglip")
class SigLip(Loss):
    """Every pair of the batch is judged on its own: same image or not, by a sigmoid with a trained scale and bias.

    Source: Zhai et al., Sigmoid Loss for Language Image Pre-Training, ICCV 2023.
    """

    recordable = True
    Options = SigLipOptions
    options: SigLipOptions

    def __init__(self, options: SigLipOptions) -> None:
        super().__init__(options)
        self.log_scale = nn.Parameter(torch.tensor(math.log(options.scale)))
        self.bias = nn.Parameter(torch.tensor(float(options.bias)))

    def _scale(self) -> Tensor:
        return self.log_scale.clamp(max=-math.log(LEAST_TEMPERATURE)).exp()

    @property
    def learnt_temperature(self) -> float | None:
        """As in the base: one over the scale."""
        return _inverse(self._scale())

    def forward(self, outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """Sum over pairs, divided by the batch."""
        scale = self._scale()
        total = pairwise_sigmoid(
            unit(outputs, scale),
            targets.float(),
            images,
            self.bias,
            block=self.options.tile(outputs),
            rounded=self.rounded,
        )
        return total / len(outputs)
