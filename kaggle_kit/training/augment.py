"""What is done to a batch before the network sees it: mixing of pairs, noise, dropped inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from kaggle_kit.contrast import Mix
from kaggle_kit.settings import TrainSettings
from kaggle_kit.translators.dropout import dropout


def draw_share(settings: TrainSettings, epoch: int) -> float | None:
    """How much of a row stays its own in the next batch, from torch's global CPU generator; None where pairs are not mixed.

    Args:
        epoch: counted from 0; mixing begins after ``mixup_after`` of them.
    """
    if settings.mixup <= 0 or epoch < settings.mixup_after:
        return None
    drawn = float(torch.distributions.Beta(settings.mixup, settings.mixup).sample())
    return max(drawn, 1 - drawn)


def augment(inputs: Tensor, settings: TrainSettings, share: float | Tensor | None) -> tuple[Tensor, Mix | None]:
    """Mix, disturb and thin out a batch as the settings say; draws come from torch's global generator of the device.

    Args:
        inputs: (batch, d_in) encoded captions.
        share: from :func:`draw_share`; a float32 scalar on the device where a number would be frozen in a recorded step.

    Source of the mixing: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018; the partner of a row is the one before it
    in the batch, whose order is random already.
    """
    mix = None
    if share is not None:
        mix = Mix(torch.arange(len(inputs), device=inputs.device).roll(1), share)
        weight = share.to(inputs.dtype) if isinstance(share, Tensor) else share
        inputs = torch.lerp(inputs.roll(1, 0), inputs, weight)
    if settings.input_noise > 0:
        noise = torch.randn_like(inputs) * (settings.input_noise / inputs.shape[1] ** 0.5)
        inputs = inputs + noise * inputs.norm(dim=1, keepdim=True)
    if settings.input_dropout > 0:
        inputs = dropout(inputs, settings.input_dropout)
    return inputs, mix
