"""What is done to a batch before the network sees it: mixing of pairs, noise, dropped inputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from kaggle_kit.settings import TrainSettings


@dataclass(frozen=True)
class Batch:
    """Inputs of a step and what they are to become.

    Attributes:
        inputs: (batch, d_in).
        rows: (batch,) int64, the image of each row.
        partners: (batch,) int64, the image that each row is mixed with; None without mixing.
        share: how much of each row is its own, from 0.5 to 1.
    """

    inputs: Tensor
    rows: Tensor
    partners: Tensor | None = None
    share: float = 1.0


def augment(inputs: Tensor, rows: Tensor, settings: TrainSettings, epoch: int) -> Batch:
    """Mix, disturb and thin out a batch as the settings say; draws come from torch's global generator.

    Args:
        inputs: (batch, d_in) encoded captions.
        rows: (batch,) int64, the image of each.
        epoch: counted from 0; mixing begins after ``mixup_after`` of them.

    Source of the mixing: Zhang et al., mixup: Beyond Empirical Risk Minimization, ICLR 2018; the partner of a row is the next one of
    the batch, whose order is random already.
    """
    batch = Batch(inputs, rows)
    if settings.mixup > 0 and epoch >= settings.mixup_after:
        batch = _mixed(inputs, rows, settings.mixup)
    changed = batch.inputs
    if settings.input_noise > 0:
        noise = torch.randn_like(changed) * (settings.input_noise / changed.shape[1] ** 0.5)
        changed = changed + noise * changed.norm(dim=1, keepdim=True)
    if settings.input_dropout > 0:
        changed = F.dropout(changed, settings.input_dropout)
    return Batch(changed, batch.rows, batch.partners, batch.share)


def _mixed(inputs: Tensor, rows: Tensor, alpha: float) -> Batch:
    drawn = float(torch.distributions.Beta(alpha, alpha).sample())
    share = max(drawn, 1 - drawn)
    return Batch(torch.lerp(inputs.roll(1, 0), inputs, share), rows, rows.roll(1), share)
