"""Networks of the competition's teams: dropout MLP, residual blocks, GeGLU blocks, VAE style, VSE++ adapter with slots."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kaggle_kit.contrast import hard_triplet, symmetric_infonce
from kaggle_kit.metrics import unit
from kaggle_kit.settings import FRACTION, POSITIVE, Section, at_least, setting
from kaggle_kit.translators.base import FitData, Translator, translators
from kaggle_kit.translators.dropout import Dropout
from kaggle_kit.translators.stages import Stage


@dataclass(frozen=True)
class DropoutMlpOptions(Section):
    """Options of the shallow, strongly regularised MLP."""

    hidden: int = setting(2048, "width of the hidden layer", at_least(1))
    dropout: float = setting(0.704, "share of hidden units dropped in training", FRACTION)
    unit_targets: bool = setting(
        False, "train towards unit image vectors; else towards raw ones, their mean length scaled to 1"
    )


@translators.register("dropout_mlp", recipe="triplet_mse")
class DropoutMlp(Translator):
    """Linear, LayerNorm, SiLU, Dropout 0.704, Linear: the shallow network behind the best public scores."""

    recordable = takes_short_inputs = True
    Options = DropoutMlpOptions
    options: DropoutMlpOptions
    target_length: Tensor

    def __init__(self, d_text: int, d_image: int, options: DropoutMlpOptions) -> None:
        super().__init__(d_text, d_image, options)
        self.layers = nn.Sequential(
            nn.Linear(d_text, options.hidden),
            nn.LayerNorm(options.hidden),
            nn.SiLU(),
            Dropout(options.dropout),
            nn.Linear(options.hidden, d_image),
        )
        self.register_buffer("target_length", torch.ones(()))

    def prepare(self, data: FitData) -> None:
        """Remember the mean length of the image vectors."""
        self.target_length.copy_(data.images.norm(dim=1).mean())

    def encode_images(self, images: Tensor) -> Tensor:
        """(m, d_image) → (m, d_image): unit length, or raw lengths with a mean of 1."""
        return unit(images) if self.options.unit_targets else images.float() / self.target_length

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image)."""
        *enter, leave = self.layers
        return leave(_stage(enter, "silu")(inputs))


@dataclass(frozen=True)
class ResidualBlocksOptions(Section):
    """Options of the network with a block of two layers around which the input is carried."""

    width: int = setting(3072, "width of the hidden layers", at_least(1))
    dropout: float = setting(0.1, "share of hidden units dropped in training", FRACTION)


@translators.register("residual_blocks", recipe="multi_positive")
class ResidualBlocks(Translator):
    """Linear, LayerNorm, GELU, Dropout to the width; two such layers as a residual; Linear to the image space."""

    recordable = takes_short_inputs = True
    Options = ResidualBlocksOptions
    options: ResidualBlocksOptions

    def __init__(self, d_text: int, d_image: int, options: ResidualBlocksOptions) -> None:
        super().__init__(d_text, d_image, options)
        width = options.width
        self.enter = self._layer(d_text, width)
        self.block = nn.Sequential(self._layer(width, width), self._layer(width, width))
        self.leave = nn.Linear(width, d_image)

    def _layer(self, d_in: int, d_out: int) -> nn.Sequential:
        return nn.Sequential(nn.Linear(d_in, d_out), nn.LayerNorm(d_out), nn.GELU(), Dropout(self.options.dropout))

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image)."""
        hidden = _stage(self.enter, "gelu")(inputs)  # (n, width)
        block = hidden
        for layer in self.block:
            assert isinstance(layer, nn.Sequential)
            block = _stage(layer, "gelu")(block)
        return self.leave(hidden + block)


def _stage(layers: Iterable[nn.Module], activation: str) -> Stage:
    """The stage that a linear layer, a norm, an activation and dropout are together."""
    linear, norm, _, drop = layers
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.LayerNorm)
    assert isinstance(drop, Dropout)
    return Stage(linear, norm, activation=activation, share=drop.now)


@dataclass(frozen=True)
class GegluOptions(Section):
    """Options of the GeGLU residual MLP."""

    width: int = setting(3072, "width of the residual stream", at_least(1))
    blocks: int = setting(2, "number of GeGLU blocks", at_least(0))
    bottleneck: int | None = setting(None, "width before the last layer; none: the image dimension", at_least(1))
    entry_dropout: float = setting(0.5, "share dropped after the first layer", FRACTION)
    block_dropout: float = setting(0.383, "share dropped in each block", FRACTION)


class _GegluBlock(nn.Module):
    """x + Dropout(BatchNorm(GELU(u) * v)) with (u, v) = Linear(x). Source: Shazeer, GLU Variants Improve Transformer, 2020."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.gates = nn.Linear(width, 2 * width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        u, v = self.gates(x).chunk(2, dim=1)
        return x + self.dropout(self.norm(F.gelu(u) * v))


@translators.register("geglu", recipe="geglu")
class Geglu(Translator):
    """GeGLU residual MLP: entry with BatchNorm and dropout, gated blocks, a GELU bottleneck."""

    recordable = takes_short_inputs = True
    Options = GegluOptions

    def __init__(self, d_text: int, d_image: int, options: GegluOptions) -> None:
        super().__init__(d_text, d_image, options)
        width, bottleneck = options.width, options.bottleneck or d_image
        self.layers = nn.Sequential(
            nn.Linear(d_text, width, bias=False),
            nn.BatchNorm1d(width),
            nn.GELU(),
            Dropout(options.entry_dropout),
            *(_GegluBlock(width, options.block_dropout) for _ in range(options.blocks)),
            nn.Linear(width, bottleneck),
            nn.GELU(),
            nn.Linear(bottleneck, d_image),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image)."""
        return self.layers(inputs)


@dataclass(frozen=True)
class VaeOptions(Section):
    """Options of the VAE-style translator."""

    width: int = setting(1024, "width of the hidden layers (8,192 in the real competition)", at_least(1))
    latent: int | None = setting(None, "size of the latent; none: the image dimension", at_least(1))
    dropout: float = setting(0.4, "share of hidden units dropped in training", FRACTION)
    kl_weight: float = setting(1e-5, "weight of the divergence from a standard normal", at_least(0))


@translators.register("vae", recipe="vae")
class VaeStyle(Translator):
    """Encoder to mean and log-variance, decoder back to the image space; the mean alone in a prediction.

    Both sides are centred on the training data. Source of the divergence: Kingma and Welling, Auto-Encoding Variational Bayes, 2014.
    """

    recordable = takes_short_inputs = True
    Options = VaeOptions
    options: VaeOptions
    text_mean: Tensor
    image_mean: Tensor

    def __init__(self, d_text: int, d_image: int, options: VaeOptions) -> None:
        super().__init__(d_text, d_image, options)
        width, latent = options.width, options.latent or d_image
        self.encoder = nn.Sequential(*self._layer(d_text, width), *self._layer(width, width))
        self.mean, self.log_variance = nn.Linear(width, latent), nn.Linear(width, latent)
        self.decoder = nn.Sequential(*self._layer(latent, width), *self._layer(width, width), nn.Linear(width, d_image))
        self.register_buffer("text_mean", torch.zeros(d_text))
        self.register_buffer("image_mean", torch.zeros(d_image))

    def _layer(self, d_in: int, d_out: int) -> list[nn.Module]:
        return [nn.Linear(d_in, d_out), nn.GELU(), nn.LayerNorm(d_out), Dropout(self.options.dropout)]

    def prepare(self, data: FitData) -> None:
        """Remember the means of the unit rows."""
        self.text_mean.copy_(unit(data.text).mean(0))
        self.image_mean.copy_(unit(data.images).mean(0))

    def encode_text(self, text: Tensor) -> Tensor:
        """(n, d_text) → (n, d_text): unit, centred, unit again."""
        return unit(unit(text) - self.text_mean)

    def encode_images(self, images: Tensor) -> Tensor:
        """(m, d_image) → (m, d_image): unit, centred, unit again."""
        return unit(unit(images) - self.image_mean)

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image), the decoded mean."""
        return self.decoder(self.mean(self.encoder(inputs)))

    def training_forward(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """A sample of the latent is decoded; mean and log-variance go to the penalty."""
        hidden = self.encoder(inputs)
        mean, log_variance = self.mean(hidden), self.log_variance(hidden)
        drawn = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        return self.decoder(drawn), {"mean": mean, "log_variance": log_variance}

    def penalty(self, extras: dict[str, Tensor], outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """KL divergence from a standard normal, summed over the latent, mean over the batch, weighted."""
        mean, log_variance = extras["mean"].float(), extras["log_variance"].float()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        return self.options.kl_weight * divergence


@dataclass(frozen=True)
class SlotAdapterOptions(Section):
    """Options of the VSE++ adapter with auxiliary slots."""

    hidden: int = setting(2048, "width of the main branch", at_least(1))
    slot_hidden: int = setting(1024, "width of the auxiliary head", at_least(1))
    slots: int = setting(4, "vectors that the auxiliary head proposes", at_least(2))
    margin: float = setting(0.2, "margin of the triplet on the best slot", at_least(0))
    main_weight: float = setting(
        0.3, "weight of the loss on the main output beside the triplet on the best slot", POSITIVE
    )
    infonce_weight: float = setting(0.15, "weight of InfoNCE on the best slot", at_least(0))
    temperature: float = setting(0.09, "temperature of that InfoNCE", POSITIVE)
    diversity_weight: float = setting(0.02, "weight of the slots' mutual cosine above the bound", at_least(0))
    diversity_bound: float = setting(0.55, "mutual cosine of two slots that costs nothing")
    agreement_weight: float = setting(0.05, "weight of 1 - cosine of main output and best slot", at_least(0))


@translators.register("slot_adapter", recipe="vsepp")
class SlotAdapter(Translator):
    """Two-layer map trained with hard triplets, guided by an auxiliary head that proposes several vectors and is dropped in a prediction.

    Source of the loss: Faghri et al., VSE++, BMVC 2018.
    """

    recordable = takes_short_inputs = True
    Options = SlotAdapterOptions
    options: SlotAdapterOptions

    def __init__(self, d_text: int, d_image: int, options: SlotAdapterOptions) -> None:
        super().__init__(d_text, d_image, options)
        self.main = nn.Sequential(nn.Linear(d_text, options.hidden), nn.GELU(), nn.Linear(options.hidden, d_image))
        self.propose = nn.Sequential(
            nn.Linear(d_text, options.slot_hidden),
            nn.GELU(),
            nn.Linear(options.slot_hidden, options.slots * d_image),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, d_text) → (n, d_image), the main branch alone."""
        return self.main(inputs)

    def training_forward(self, inputs: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The main output, and the slots (n, slots, d_image) for the penalty."""
        return self.main(inputs), {"slots": self.propose(inputs).view(len(inputs), self.options.slots, self.d_image)}

    def penalty(self, extras: dict[str, Tensor], outputs: Tensor, targets: Tensor, images: Tensor) -> Tensor:
        """The terms on the slots, relative to a loss of weight ``main_weight`` on the main output."""
        options = self.options
        slots = unit(extras["slots"])  # (batch, slots, d)
        scores, best = torch.einsum("bsd,id->bis", slots, unit(targets)).max(2)  # (batch, batch)
        own = slots[torch.arange(len(slots), device=slots.device), best.diagonal()]  # (batch, d)
        mutual = slots @ slots.transpose(1, 2)  # (batch, slots, slots)
        pairs = torch.triu_indices(options.slots, options.slots, 1, device=slots.device)
        crowding = (mutual[:, pairs[0], pairs[1]] - options.diversity_bound).clamp(min=0).mean()
        total = hard_triplet(scores, images, options.margin)
        total = total + options.infonce_weight * symmetric_infonce(scores / options.temperature)
        total = total + options.diversity_weight * crowding
        total = total + options.agreement_weight * (1 - (unit(outputs) * own).sum(1)).mean()
        return total / options.main_weight
