"""Kernels of a stage, that is what comes between two matrix products: bias, LayerNorm, a second branch, non-linearity, dropout.

Forward, a row is read once and written once. Backward, the row's way is computed again from what the product left, and the gradients of
all vectors of the stage are summed up on the way, in two steps and a fixed order.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

ACTIVATIONS = {"none": 0, "relu": 1, "gelu": 2, "silu": 3, "tanh": 4}

FORWARD_WARPS, BACKWARD_WARPS = 4, 8
BACKWARD_PROGRAMS = 264
"""Two for each multiprocessor of a large card; each sums up the vectors' gradients over its rows."""
COLUMNS_A_SUM = 32


@triton.jit
def _cdf(x, z):
    """Of the standard normal; z is exp(-x²/2). Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26: to 1e-7."""
    t = 1.0 / (1.0 + 0.23164189 * tl.abs(x))
    tail = 0.5 * z * t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return tl.where(x >= 0, 1.0 - tail, tail)


@triton.jit
def _activated(x, ACTIVATION: tl.constexpr):
    if ACTIVATION == 1:
        x = tl.where(x > 0, x, 0.0 * x)  # NaN stays NaN
    elif ACTIVATION == 2:
        x = x * _cdf(x, tl.exp(-0.5 * x * x))
    elif ACTIVATION == 3:
        x = x / (1.0 + tl.exp(-x))
    elif ACTIVATION == 4:
        x = 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0
    return x


@triton.jit
def _slope(x, ACTIVATION: tl.constexpr):
    if ACTIVATION == 0:
        slope = 0.0 * x + 1.0
    elif ACTIVATION == 1:
        slope = tl.where(x > 0, 1.0, 0.0)
    elif ACTIVATION == 2:
        z = tl.exp(-0.5 * x * x)
        slope = _cdf(x, z) + x * z * 0.3989422804
    elif ACTIVATION == 3:
        s = 1.0 / (1.0 + tl.exp(-x))
        slope = s * (1.0 + x * (1.0 - s))
    else:
        y = 2.0 / (1.0 + tl.exp(-2.0 * x)) - 1.0
        slope = 1.0 - y * y
    return slope


@triton.jit
def _kept(seed, places, share):
    """1 / (1 - share) where a number is kept, 0 where it is dropped; places are uint32.

    Two rounds of an integer hash (Wellons, Prospecting for Hash Functions, 2018: lowbias32), half of the seed before each.
    """
    x = places ^ (seed & 0xFFFFFFFF).to(tl.uint32)
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    x = (x ^ (x >> 16)) ^ ((seed >> 32) & 0xFFFFFFFF).to(tl.uint32)
    x = (x ^ (x >> 16)) * 0x7FEB352D
    x = (x ^ (x >> 15)) * 0x846CA68B
    x = x ^ (x >> 16)
    drawn = (x >> 8).to(tl.float32) * 5.9604644775390625e-08  # 2⁻²⁴
    return tl.where(drawn >= share, 1.0 / (1.0 - share), 0.0)


@triton.jit
def _forward(
    product, bias, weight, shift, other, other_bias, out, means, scales, seeds,
    width, product_stride, other_stride, epsilon, share,
    NORM: tl.constexpr, BIAS: tl.constexpr, OTHER: tl.constexpr, OTHER_BIAS: tl.constexpr, ACTIVATION: tl.constexpr,
    DROPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    x = tl.load(product + row * product_stride + columns, mask=inside, other=0.0).to(tl.float32)
    if BIAS:
        x += tl.load(bias + columns, mask=inside, other=0.0)
    if NORM:
        mean = tl.sum(x, 0) / width
        centred = tl.where(inside, x - mean, 0.0)
        scale = 1.0 / tl.sqrt(tl.sum(centred * centred, 0) / width + epsilon)
        tl.store(means + row, mean)
        tl.store(scales + row, scale)
        x = centred * scale * tl.load(weight + columns, mask=inside, other=0.0)
        x += tl.load(shift + columns, mask=inside, other=0.0)
    if OTHER:
        x += tl.load(other + row * other_stride + columns, mask=inside, other=0.0).to(tl.float32)
        if OTHER_BIAS:
            x += tl.load(other_bias + columns, mask=inside, other=0.0)
    x = _activated(x, ACTIVATION)
    if DROPS:
        x *= _kept(tl.load(seeds), (row * width + columns).to(tl.uint32), share)
    tl.store(out + row * width + columns, x.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _backward(
    gradient, product, bias, weight, shift, other, other_bias, means, scales, seeds,
    for_product, for_other, sums,
    rows, width, gradient_stride, product_stride, other_stride, share,
    NORM: tl.constexpr, BIAS: tl.constexpr, OTHER: tl.constexpr, OTHER_BIAS: tl.constexpr, ACTIVATION: tl.constexpr,
    DROPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    program, programs = tl.program_id(0), tl.num_programs(0)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    if BIAS:
        b = tl.load(bias + columns, mask=inside, other=0.0)
    if NORM:
        w = tl.load(weight + columns, mask=inside, other=0.0)
        s = tl.load(shift + columns, mask=inside, other=0.0)
        sum_weight = tl.zeros([BLOCK], tl.float32)
    if OTHER_BIAS:
        ob = tl.load(other_bias + columns, mask=inside, other=0.0)
    if DROPS:
        seed = tl.load(seeds)
    sum_inner = tl.zeros([BLOCK], tl.float32)
    sum_outer = tl.zeros([BLOCK], tl.float32)
    row = program.to(tl.int64)
    # the next row is on its way while this one is worked on
    g_next = tl.load(gradient + row * gradient_stride + columns, mask=inside & (row < rows), other=0.0)
    x_next = tl.load(product + row * product_stride + columns, mask=inside & (row < rows), other=0.0)
    if OTHER:
        o_next = tl.load(other + row * other_stride + columns, mask=inside & (row < rows), other=0.0)
    while row < rows:
        g, x = g_next.to(tl.float32), x_next.to(tl.float32)
        if OTHER:
            o = o_next.to(tl.float32)
        if NORM:
            mean, scale = tl.load(means + row), tl.load(scales + row)
        after = row + programs
        there = inside & (after < rows)
        g_next = tl.load(gradient + after * gradient_stride + columns, mask=there, other=0.0)
        x_next = tl.load(product + after * product_stride + columns, mask=there, other=0.0)
        if OTHER:
            o_next = tl.load(other + after * other_stride + columns, mask=there, other=0.0)
        if BIAS:
            x += b
        if NORM:
            normal = tl.where(inside, (x - mean) * scale, 0.0)
            x = normal * w + s
        if OTHER:
            x += o
            if OTHER_BIAS:
                x += ob
        if DROPS:
            g *= _kept(seed, (row * width + columns).to(tl.uint32), share)
        g *= _slope(x, ACTIVATION)
        g = tl.where(inside, g, 0.0)
        sum_outer += g
        if OTHER:
            tl.store(for_other + row * width + columns, g.to(for_other.dtype.element_ty), mask=inside)
        if NORM:
            sum_weight += g * normal
            g *= w
            g = (g - tl.sum(g, 0) / width - normal * (tl.sum(g * normal, 0) / width)) * scale
            g = tl.where(inside, g, 0.0)
            sum_inner += g
        tl.store(for_product + row * width + columns, g.to(for_product.dtype.element_ty), mask=inside)
        row = after
    place = sums + program * 3 * width + columns
    tl.store(place, sum_outer, mask=inside)
    if NORM:
        tl.store(place + width, sum_weight, mask=inside)
        tl.store(place + 2 * width, sum_inner, mask=inside)


@triton.jit
def _summed(sums, outer, second_outer, weight, inner, programs, width,
            SECOND: tl.constexpr, NORM: tl.constexpr, INNER: tl.constexpr, ADD: tl.constexpr,
            ROWS: tl.constexpr, COLUMNS: tl.constexpr):  # fmt: skip
    kind = tl.program_id(1)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    rows = tl.arange(0, ROWS)
    mask = (rows < programs)[:, None] & (columns < width)[None, :]
    total = tl.sum(tl.load(sums + rows[:, None] * 3 * width + kind * width + columns[None, :], mask=mask, other=0.0), 0)
    inside = columns < width
    if kind == 0:
        _leave(outer, columns, total, inside, ADD)
        if SECOND:
            _leave(second_outer, columns, total, inside, ADD)
    if NORM:
        if kind == 1:
            _leave(weight, columns, total, inside, ADD)
        if INNER:
            if kind == 2:
                _leave(inner, columns, total, inside, ADD)


@triton.jit
def _leave(place, columns, total, inside, ADD: tl.constexpr):
    if ADD:
        total += tl.load(place + columns, mask=inside, other=0.0)
    tl.store(place + columns, total, mask=inside)


@dataclass(frozen=True)
class StageForm:
    """What a stage does beside its vectors.

    Attributes:
        activation: a key of ``ACTIVATIONS``.
        share: of the numbers that are dropped, from 0 to below 1.
        epsilon: of the norm.
    """

    activation: str
    share: float = 0.0
    epsilon: float = 1e-5


@dataclass(frozen=True)
class StageVectors:
    """The trained vectors of a stage, (width,) float32 each, or where their gradients belong; None where it has no such part.

    Attributes:
        bias: of the layer before.
        weight, shift: of the norm; both or none.
        other_bias: of the layer of the second branch.
    """

    bias: Tensor | None = None
    weight: Tensor | None = None
    shift: Tensor | None = None
    other_bias: Tensor | None = None


@dataclass(frozen=True)
class StageMemory:
    """What the way back needs of the way there: (rows,) float32 mean and one over the deviation of each row, (1,) int64 seed."""

    means: Tensor
    scales: Tensor
    seed: Tensor


def forward(
    product: Tensor, other: Tensor | None, vectors: StageVectors, form: StageForm, seed: Tensor
) -> tuple[Tensor, StageMemory]:
    """Dropout(activation(LayerNorm(product + bias) + other + other_bias)).

    Args:
        product, other: (rows, width) bf16, their columns beside each other.
        seed: (1,) int64 on the device, which decides what is dropped.

    Returns:
        (rows, width) bf16, and what :func:`backward` needs.
    """
    rows, width = product.shape
    out = torch.empty((rows, width), dtype=product.dtype, device=product.device)
    means, scales = (torch.empty(rows, dtype=torch.float32, device=product.device) for _ in range(2))
    _forward[(rows,)](
        product, *_pointers(vectors, product, other), out, means, scales, seed,
        width, product.stride(0), 0 if other is None else other.stride(0), form.epsilon, form.share,
        **_kinds(vectors, other, form), BLOCK=triton.next_power_of_2(width), num_warps=FORWARD_WARPS,
    )  # fmt: skip
    return out, StageMemory(means, scales, seed)


def backward(
    gradient: Tensor,
    product: Tensor,
    other: Tensor | None,
    vectors: StageVectors,
    form: StageForm,
    memory: StageMemory,
    places: StageVectors,
    *,
    add: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """The way back of :func:`forward`.

    Args:
        gradient: (rows, width) of its result.
        places: where the gradients of the vectors are left, or added to what is there.

    Returns:
        (rows, width) bf16 gradients of the product and of the other branch.
    """
    rows, width = product.shape
    for_product = torch.empty((rows, width), dtype=product.dtype, device=product.device)
    for_other = None if other is None else torch.empty_like(for_product)
    programs = min(rows, BACKWARD_PROGRAMS)
    sums = torch.empty((programs, 3, width), dtype=torch.float32, device=product.device)
    _backward[(programs,)](
        gradient, product, *_pointers(vectors, product, other), memory.means, memory.scales, memory.seed,
        for_product, for_product if for_other is None else for_other, sums,
        rows, width, gradient.stride(0), product.stride(0), 0 if other is None else other.stride(0), form.share,
        **_kinds(vectors, other, form), BLOCK=triton.next_power_of_2(width), num_warps=BACKWARD_WARPS,
    )  # fmt: skip
    _sum_up(sums, places, add=add)
    return for_product, for_other


def _sum_up(sums: Tensor, places: StageVectors, *, add: bool) -> None:
    """Without a norm the sums of the gradient are those of both biases; with one they belong to its shift and the other branch."""
    programs, _, width = sums.shape
    norm = places.weight is not None
    outer = [place for place in (places.shift if norm else places.bias, places.other_bias) if place is not None]
    if not outer:
        return
    inner = places.bias if norm else None
    _summed[(triton.cdiv(width, COLUMNS_A_SUM), 3 if norm else 1)](
        sums, outer[0], outer[-1], sums if places.weight is None else places.weight, sums if inner is None else inner,
        programs, width, SECOND=len(outer) > 1, NORM=norm, INNER=inner is not None, ADD=add,
        ROWS=triton.next_power_of_2(programs), COLUMNS=COLUMNS_A_SUM,
    )  # fmt: skip


def _pointers(vectors: StageVectors, product: Tensor, other: Tensor | None) -> list[Tensor]:
    """Arguments of a kernel; what it does not have is never read."""
    found = [vectors.bias, vectors.weight, vectors.shift, other, vectors.other_bias]
    return [product if tensor is None else tensor for tensor in found]


def _kinds(vectors: StageVectors, other: Tensor | None, form: StageForm) -> dict[str, object]:
    return {
        "NORM": vectors.weight is not None,
        "BIAS": vectors.bias is not None,
        "OTHER": other is not None,
        "OTHER_BIAS": vectors.other_bias is not None,
        "ACTIVATION": ACTIVATIONS[form.activation],
        "DROPS": form.share > 0,
    }
