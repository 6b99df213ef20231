"""The default: a strongly regularised MLP between the leading principal directions of both sides, a whitened ridge beside it.

What it is made of, each part measured on its own in ``docs/experiments.md``: text and image vectors in their leading principal
directions, rotated at random and unwhitened (whitened axes make Adam overfit); targets projected and not re-normalised, which loses only
the discarded directions and halves the largest matrix product; dropout of 0.7; the unit vector of a whitened ridge added to the
network's; and the mean prediction added to every prediction, a correction for hubs that is estimated on the training captions alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kaggle_kit.metrics import unit
from kaggle_kit.settings import FRACTION, Section, at_least, setting
from kaggle_kit.translators.base import BLOCK_ROWS, FitData, Translator, translators
from kaggle_kit.translators.closed_form import Spectrum, fit_whitened_ridge, mean_row
from kaggle_kit.translators.dropout import Dropout
from kaggle_kit.translators.stages import Stage

BIAS_CAPTIONS = 4096
"""Training captions whose mean prediction corrects for hubs: enough for a mean, and quick."""


@dataclass(frozen=True)
class SubspaceMlpOptions(Section):
    """Options of the MLP between principal subspaces."""

    hidden: int = setting(1536, "width of the hidden layer", at_least(1))
    text_directions: int = setting(768, "leading principal directions of the text that the network sees", at_least(1))
    image_directions: int = setting(768, "leading principal directions of the images that it predicts", at_least(1))
    dropout: float = setting(0.7, "share of hidden units dropped in training", FRACTION)
    ridge: float = setting(
        0.2, "length of the whitened ridge's unit vector that is added to the network's", at_least(0)
    )
    hub_correction: float = setting(1.0, "how often the mean prediction is added to each prediction", at_least(0))
    strength: float | None = setting(
        None,
        "penalty of the ridge, as a share of the mean diagonal of the Gram matrix; none: chosen on held-out images",
    )
    exponent: float | None = setting(None, "whitening power of the ridge; none: chosen on held-out training images")
    lift: float = setting(0.1, "what is added to each eigenvalue of the covariance, as a share of their mean")


@translators.register("subspace_mlp", recipe="default")
class SubspaceMlp(Translator):
    """LayerNorm-SiLU MLP from the leading text directions to the leading image directions, with a whitened ridge and a hub correction."""

    recordable = takes_short_inputs = True
    Options = SubspaceMlpOptions
    options: SubspaceMlpOptions
    text_mean: Tensor
    direction_mean: Tensor
    text_axes: Tensor
    image_mean: Tensor
    image_axes: Tensor
    ridge: Tensor
    bias: Tensor

    def __init__(self, d_text: int, d_image: int, options: SubspaceMlpOptions) -> None:
        super().__init__(d_text, d_image, options)
        self.k_text, self.k_image = min(options.text_directions, d_text), min(options.image_directions, d_image)
        self.enter = nn.Linear(self.k_text, options.hidden)
        self.norm = nn.LayerNorm(options.hidden)
        self.dropout = Dropout(options.dropout)
        self.leave = nn.Linear(options.hidden, self.k_image, bias=False)
        nn.init.normal_(self.enter.weight, std=self.k_text**-0.5)
        nn.init.zeros_(self.enter.bias)
        nn.init.normal_(self.leave.weight, std=options.hidden**-0.5)
        self.register_buffer("text_mean", torch.zeros(d_text))
        self.register_buffer("direction_mean", torch.zeros(d_text))
        self.register_buffer("text_axes", torch.zeros(d_text, d_text))
        self.register_buffer("image_mean", torch.zeros(d_image))
        self.register_buffer("image_axes", torch.zeros(d_image, self.k_image))
        self.register_buffer("ridge", torch.zeros(d_text, d_image))
        self.register_buffer("bias", torch.zeros(d_image))

    def prepare(self, data: FitData) -> None:
        """Centre both sides, find and rotate their principal directions, and solve the ridge."""
        generator = torch.Generator().manual_seed(data.seed)
        images = unit(data.images)
        self.text_mean.copy_(mean_row(data.text, data.weight))
        raw = unit(data.text - self.text_mean)
        self.direction_mean.copy_(mean_row(raw, data.weight))
        centred = raw - self.direction_mean
        self._set_text_axes(centred, generator)
        spectrum = Spectrum.of(images)
        self.image_mean.copy_(images.mean(0))
        self._set_image_axes(spectrum, generator)
        if self.options.ridge:
            inputs = centred @ self.text_axes
            weight, _ = fit_whitened_ridge(inputs, images, data, spectrum, self.options)
            self.ridge.copy_(weight)

    def _set_text_axes(self, centred: Tensor, generator: torch.Generator) -> None:
        """All directions, the leading ones first and rotated among themselves; one scale makes their mean variance 1."""
        values, vectors = torch.linalg.eigh(centred.T @ centred / len(centred))
        values, vectors = values.flip(0), vectors.flip(1)
        lead = vectors[:, : self.k_text] @ _rotation(self.k_text, generator).to(vectors.device)
        scale = (self.k_text / values[: self.k_text].sum().clamp(min=1e-12)) ** 0.5
        self.text_axes.copy_(torch.cat([lead, vectors[:, self.k_text :]], 1) * scale)

    def _set_image_axes(self, spectrum: Spectrum, generator: torch.Generator) -> None:
        """The leading directions rotated among themselves; one scale makes the mean squared length of a target 1."""
        lead = spectrum.axes.flip(1)[:, : self.k_image] @ _rotation(self.k_image, generator).to(spectrum.axes.device)
        total = spectrum.values.flip(0)[: self.k_image].clamp(min=0).sum().clamp(min=1e-12)
        self.image_axes.copy_(lead / total**0.5)

    def encode_text(self, text: Tensor) -> Tensor:
        """(n, d_text) → (n, d_text): centred, unit, in principal directions; the network sees the first ``text_directions``."""
        return (unit(text.float() - self.text_mean) - self.direction_mean) @ self.text_axes

    def encode_images(self, images: Tensor) -> Tensor:
        """(m, d_image) → (m, image_directions): projections of centred unit vectors, not normalised again."""
        return (unit(images) - self.image_mean) @ self.image_axes

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, image_directions)."""
        enter = Stage(self.enter, self.norm, activation="silu", share=self.dropout.now)
        return self.leave(enter(inputs[:, : self.k_text]))

    def decode(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """Back to the image space, plus the ridge's vote, plus the hub correction: (n, d_image) float32."""
        vectors = unit(outputs.float() @ self.image_axes.T)
        if self.options.ridge:
            vectors = unit(vectors + self.options.ridge * unit(inputs @ self.ridge))
        return vectors + self.bias

    def finish(self, data: FitData) -> None:
        """Set the hub correction: the mean prediction of training captions."""
        self.bias.zero_()
        if not self.options.hub_correction:
            return
        generator = torch.Generator().manual_seed(data.seed)
        picked = torch.randperm(len(data.text), generator=generator)[:BIAS_CAPTIONS].to(data.text.device)
        total = torch.zeros_like(self.bias)
        for rows in picked.split(BLOCK_ROWS):
            inputs = self.encode_text(data.text[rows])
            total += self.decode(self(inputs), inputs).sum(0)
        self.bias.copy_(self.options.hub_correction * total / len(picked))


def _rotation(size: int, generator: torch.Generator) -> Tensor:
    """A random rotation: in principal axes Adam's step sizes, one a coordinate, would undo the spectrum."""
    return torch.linalg.qr(torch.randn(size, size, generator=generator))[0]
