"""InfoNCE of a batch on a GPU by kernels: the scores are written once, in bf16, and become their own gradient where they lie."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from kaggle_kit.kernels import scores


def infonce(outputs: Tensor, targets: Tensor, log_scale: Tensor, *, most: float, image_weight: float) -> Tensor:
    """InfoNCE of unit outputs times a scale against the targets, mean over the batch, a float32 scalar.

    Args:
        outputs: (n, d).
        targets: (n, d), rounded to bf16 here if they are not; without a gradient.
        log_scale: scalar; ``most`` is where it is clamped.
        image_weight: weight of image to caption beside caption to image, which has 1; 0 leaves it out.
    """
    return _InfoNce.apply(outputs, targets.bfloat16(), log_scale, most, image_weight)  # type: ignore[no-any-return]


class _InfoNce(torch.autograd.Function):
    """The gradient of the scores is computed on the way there, up to the factor that the way back brings."""

    @staticmethod
    def forward(
        ctx: Any, outputs: Tensor, targets: Tensor, log_scale: Tensor, most: float, image_weight: float
    ) -> Tensor:
        found = scores.scaled(outputs, targets, log_scale, most)
        table = found.rows @ targets.T
        losses = scores.to_slopes(table, found.own, image_weight)
        ctx.found, ctx.slopes, ctx.targets, ctx.most, ctx.dtype = found, table, targets, most, outputs.dtype
        ctx.save_for_backward(log_scale)
        return losses.mean()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, factor: Tensor) -> tuple[Tensor | None, ...]:
        (log_scale,) = ctx.saved_tensors
        for_rows = ctx.slopes @ ctx.targets
        for_outputs, for_scale = scores.unscaled(for_rows, ctx.found, log_scale, ctx.most, factor, ctx.dtype)
        for_log_scale = None
        if ctx.needs_input_grad[2]:
            for_log_scale = torch.where(log_scale <= ctx.most, for_scale.sum(), 0.0)
        return for_outputs, None, for_log_scale, None, None
