"""Whether steps can be computed by kernels of ours (:mod:`kaggle_kit.training.fused`, which needs Triton), and why not."""

from __future__ import annotations

import torch
from torch import nn

from kaggle_kit import kernels
from kaggle_kit.settings import TrainSettings
from kaggle_kit.training.precision import Hardware


def why_without_kernels(
    train: TrainSettings, hardware: Hardware, *modules: nn.Module, shared: bool = False
) -> str | None:
    """Why ``train.kernels`` changes nothing; None: it does.

    Args:
        modules: what is trained: the translator and the loss.
        shared: whether several processes train a fold together.
    """
    reasons = {
        f"kernels are for one GPU in bf16, not for {hardware.device} in {hardware.precision}": (
            (hardware.device, hardware.precision) != ("cuda", "bf16")
        ),
        "several devices share a batch (train.parallel)": shared,
        "gradients are added up over batches (train.accumulate)": train.accumulate > 1,
        "gradients are clipped (train.clip_norm)": train.clip_norm is not None,
        "the translator or the loss has other weights than those of linear layers": not bears_fusing(*modules),
        "the GPU does not multiply bf16 in hardware, or Triton is not installed": not kernels.usable(),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def bears_fusing(*modules: nn.Module) -> bool:
    """Whether all that is trained are weights of linear layers, vectors and numbers."""
    layers = [part.weight for module in modules for part in module.modules() if isinstance(part, nn.Linear)]
    known = {id(weight) for weight in layers}
    trained = [weight for module in modules for weight in module.parameters() if weight.requires_grad]
    return all(one.dtype == torch.float32 and (one.ndim < 2 or id(one) in known) for one in trained)
