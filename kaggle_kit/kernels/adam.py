"""Kernels of the optimiser's step over weights that lie in one stretch of memory: are all gradients finite, and Adam."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

CHECKED, MOVED = 8192, 2048
"""Numbers that one program looks at, and that one program moves."""


@triton.jit
def _finite(gradients, place, count, found, BLOCK: tl.constexpr):
    places = place.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    g = tl.load(gradients + places, mask=places < count, other=0.0).to(tl.float32)
    if tl.sum((tl.abs(g) < float("inf")).to(tl.int32), 0) < BLOCK:  # NaN is not below either
        tl.store(found, 1.0)


@triton.jit
def _check(matrices, count, vectors, vector_count, loss, found, blocks, BLOCK: tl.constexpr):
    program = tl.program_id(0)
    if program < blocks:
        _finite(matrices, program, count, found, BLOCK)
    else:
        _finite(vectors, program - blocks, vector_count, found, BLOCK)
    if program == 0:
        bad = (tl.abs(tl.load(loss)) < float("inf")) == 0  # so of NaN, too
        if bad:
            tl.store(found, 1.0)


@triton.jit
def _moved(
    weights, short, gradients, averages, squares, decay, place, count, lr, first, root,
    DECAYS: tl.constexpr, DECOUPLED: tl.constexpr, BETA_1: tl.constexpr, BETA_2: tl.constexpr, EPSILON: tl.constexpr,
    SHORT: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    places = place.to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = places < count
    w = tl.load(weights + places, mask=inside, other=0.0)
    g = tl.load(gradients + places, mask=inside, other=0.0).to(tl.float32)
    m = tl.load(averages + places, mask=inside, other=0.0)
    v = tl.load(squares + places, mask=inside, other=0.0)
    if DECAYS:
        if DECOUPLED:
            w *= 1.0 - lr * tl.load(decay)
        else:
            g += tl.load(decay) * w
    m += (1.0 - BETA_1) * (g - m)
    v = BETA_2 * v + (1.0 - BETA_2) * g * g
    w -= lr / first * m / (tl.sqrt(v) / root + EPSILON)
    tl.store(averages + places, m, mask=inside)
    tl.store(squares + places, v, mask=inside)
    tl.store(weights + places, w, mask=inside)
    if SHORT:
        tl.store(short + places, w.to(short.dtype.element_ty), mask=inside)


@triton.jit
def _adam(
    weights, short, gradients, averages, squares, decay, count,
    vectors, vector_gradients, vector_averages, vector_squares, vector_decay, vector_count,
    blocks, rate, step, logs, skipped,
    DECAYS: tl.constexpr, VECTORS_DECAY: tl.constexpr, DECOUPLED: tl.constexpr,
    BETA_1: tl.constexpr, BETA_2: tl.constexpr, EPSILON: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    if tl.load(skipped) == 0:
        now = tl.load(step).to(tl.float64) + 1.0
        first = (1.0 - tl.exp(now * tl.load(logs))).to(tl.float32)
        root = tl.sqrt((1.0 - tl.exp(now * tl.load(logs + 1))).to(tl.float32))
        lr = tl.load(rate)
        program = tl.program_id(0)
        if program < blocks:
            _moved(weights, short, gradients, averages, squares, decay, program, count, lr, first, root,
                   DECAYS, DECOUPLED, BETA_1, BETA_2, EPSILON, True, BLOCK)  # fmt: skip
        else:
            _moved(vectors, vectors, vector_gradients, vector_averages, vector_squares, vector_decay, program - blocks,
                   vector_count, lr, first, root, VECTORS_DECAY, DECOUPLED, BETA_1, BETA_2, EPSILON, False, BLOCK)  # fmt: skip


@triton.jit
def _conclude(step, found, skipped):
    was = tl.load(found)
    tl.store(skipped, was)
    tl.store(step, tl.load(step) + 1.0 - was)
    tl.store(found, 0.0)


@dataclass(frozen=True)
class AdamForm:
    """Numbers of Adam that do not change, and whether weight decay is AdamW's."""

    beta1: float
    beta2: float
    epsilon: float
    decoupled: bool


@dataclass(frozen=True)
class Stretch:
    """Weights in one stretch of memory, (count,) each, on the device.

    Attributes:
        weights, averages, squares: float32.
        gradients: bf16 or float32.
        short: bf16 copies of the weights; None where there are none.
        decay: float32 scalar; ``decays`` tells whether it is above zero.
    """

    weights: Tensor
    averages: Tensor
    squares: Tensor
    gradients: Tensor
    short: Tensor | None
    decay: Tensor
    decays: bool


def check(matrices: Tensor, vectors: Tensor, loss: Tensor, found: Tensor) -> None:
    """Set the float32 scalar ``found`` to 1 if a gradient or the loss is not finite, else leave it alone."""
    blocks = triton.cdiv(matrices.numel(), CHECKED)
    _check[(max(1, blocks + triton.cdiv(vectors.numel(), CHECKED)),)](
        matrices, matrices.numel(), vectors, vectors.numel(), loss, found, blocks, BLOCK=CHECKED, num_warps=8
    )


def move(
    matrices: Stretch, vectors: Stretch, form: AdamForm, rate: Tensor, step: Tensor, logs: Tensor, skipped: Tensor
) -> None:
    """Adam's step, unless ``skipped`` is above zero.

    Args:
        matrices: with short copies.
        vectors: without.
        rate: float32 scalar.
        step: float32 scalar, steps before this one.
        logs: (2,) float64, logarithms of both betas.
        skipped: float32 scalar.

    Source: Kingma and Ba, Adam, ICLR 2015; Loshchilov and Hutter, Decoupled Weight Decay Regularization, ICLR 2019.
    """
    count, vector_count = matrices.weights.numel(), vectors.weights.numel()
    blocks = triton.cdiv(count, MOVED)
    _adam[(blocks + triton.cdiv(vector_count, MOVED),)](
        matrices.weights, matrices.short, matrices.gradients, matrices.averages, matrices.squares, matrices.decay, count,
        vectors.weights, vectors.gradients, vectors.averages, vectors.squares, vectors.decay, vector_count,
        blocks, rate, step, logs, skipped,
        DECAYS=matrices.decays, VECTORS_DECAY=vectors.decays, DECOUPLED=form.decoupled,
        BETA_1=form.beta1, BETA_2=form.beta2, EPSILON=form.epsilon, BLOCK=MOVED, num_warps=4,
    )  # fmt: skip


def conclude(step: Tensor, found: Tensor) -> Tensor:
    """Count the step unless one of its gradients was found not finite, and look afresh from now on.

    Returns:
        float32 scalar: 1 when the step was skipped, else 0.
    """
    skipped = torch.empty_like(found)
    _conclude[(1,)](step, found, skipped)
    return skipped
