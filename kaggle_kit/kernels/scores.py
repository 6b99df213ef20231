"""Kernels of InfoNCE: rows scaled to one length, the softmax of their scores and its slope, and the way back to the rows.

The score matrix is kept once, in bf16, and becomes its own gradient in place. The right scores, the largest, are computed apart in float32
and take the place of the rounded ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import triton
import triton.language as tl
from torch import Tensor

SHORTEST: tl.constexpr = tl.constexpr(1e-12)
"""Rows shorter than this are divided by it and not by their length."""

ROWS_A_PART, COLUMNS_A_PART = 256, 64
"""Of the score matrix, of which one program sums up the columns."""


@triton.jit
def _scaled(outputs, targets, log_scale, most, rows, lengths, own, width, stride, target_stride, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    x = tl.load(outputs + row * stride + columns, mask=inside, other=0.0).to(tl.float32)
    t = tl.load(targets + row * target_stride + columns, mask=inside, other=0.0).to(tl.float32)
    length = tl.sqrt(tl.sum(x * x, 0))
    scale = tl.exp(tl.minimum(tl.load(log_scale), most))
    short = (x * (scale / tl.maximum(length, SHORTEST, propagate_nan=tl.PropagateNan.ALL))).to(rows.dtype.element_ty)
    tl.store(rows + row * width + columns, short, mask=inside)
    tl.store(lengths + row, length)
    tl.store(own + row, tl.sum(short.to(tl.float32) * t, 0))


@triton.jit
def _one_way(scores, own, losses, count, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < count
    right = tl.load(own + row)
    x = tl.load(scores + row * count + columns, mask=inside, other=float("-inf")).to(tl.float32)
    x = tl.where(columns == row, right, x)
    most = tl.max(x, 0)
    e = tl.exp(x - most)
    total = tl.sum(e, 0)
    tl.store(losses + row, most + tl.log(total) - right)
    slope = (e / total - tl.where(columns == row, 1.0, 0.0)) / count
    tl.store(scores + row * count + columns, slope.to(scores.dtype.element_ty), mask=inside)


@triton.jit
def _row_sums(scores, own, by_row, count, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    x = tl.load(scores + row * count + columns, mask=columns < count, other=float("-inf")).to(tl.float32)
    x = tl.where(columns == row, tl.load(own + row), x)
    most = tl.max(x, 0)
    tl.store(by_row + row, most + tl.log(tl.sum(tl.exp(x - most), 0)))


@triton.jit
def _column_parts(scores, own, parts, count, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
    part = tl.program_id(1)
    rows = part.to(tl.int64) * ROWS + tl.arange(0, ROWS)
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    mask = (rows < count)[:, None] & (columns < count)[None, :]
    x = tl.load(scores + rows[:, None] * count + columns[None, :], mask=mask, other=float("-inf")).to(tl.float32)
    right = tl.load(own + columns, mask=columns < count, other=0.0)
    x = tl.where(rows[:, None] == columns[None, :], right[None, :], x)
    most = tl.max(x, 0)
    found = most + tl.log(tl.sum(tl.exp(x - most[None, :]), 0))
    tl.store(parts + part * count + columns, found, mask=columns < count)


@triton.jit
def _column_sums(parts, by_column, count, number, PARTS: tl.constexpr, COLUMNS: tl.constexpr):
    columns = tl.program_id(0) * COLUMNS + tl.arange(0, COLUMNS)
    rows = tl.arange(0, PARTS)
    mask = (rows < number)[:, None] & (columns < count)[None, :]
    x = tl.load(parts + rows[:, None] * count + columns[None, :], mask=mask, other=float("-inf"))
    most = tl.max(x, 0)
    tl.store(by_column + columns, most + tl.log(tl.sum(tl.exp(x - most[None, :]), 0)), mask=columns < count)


@triton.jit
def _both_ways(scores, own, by_row, by_column, losses, count, weight, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < count
    right, to_row, to_column = tl.load(own + row), tl.load(by_row + row), tl.load(by_column + row)
    x = tl.load(scores + row * count + columns, mask=inside, other=float("-inf")).to(tl.float32)
    x = tl.where(columns == row, right, x)
    there = tl.exp(x - to_row)
    back = tl.exp(x - tl.load(by_column + columns, mask=inside, other=0.0))
    slope = (there + weight * back) / (1.0 + weight) - tl.where(columns == row, 1.0, 0.0)
    tl.store(losses + row, (to_row + weight * to_column) / (1.0 + weight) - right)
    tl.store(scores + row * count + columns, (slope / count).to(scores.dtype.element_ty), mask=inside)


@triton.jit
def _unscaled(for_rows, rows, lengths, log_scale, most, factor, for_outputs, for_scale, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    columns = tl.arange(0, BLOCK)
    inside = columns < width
    g = tl.load(for_rows + row * width + columns, mask=inside, other=0.0).to(tl.float32) * tl.load(factor)
    r = tl.load(rows + row * width + columns, mask=inside, other=0.0).to(tl.float32)
    length = tl.load(lengths + row)
    scale = tl.exp(tl.minimum(tl.load(log_scale), most))
    along = tl.sum(g * r, 0)
    tl.store(for_scale + row, along)
    # a row that is too short to have a direction is only stretched
    turned = g - r * tl.where(length > SHORTEST, along / (scale * scale), 0.0)
    turned *= scale / tl.maximum(length, SHORTEST, propagate_nan=tl.PropagateNan.ALL)
    tl.store(for_outputs + row * width + columns, turned.to(for_outputs.dtype.element_ty), mask=inside)


@dataclass(frozen=True)
class ScaledRows:
    """Rows of one length.

    Attributes:
        rows: (n, d) bf16.
        lengths: (n,) float32 that the rows had.
        own: (n,) float32, the score of each row with its target.
    """

    rows: Tensor
    lengths: Tensor
    own: Tensor


def scaled(outputs: Tensor, targets: Tensor, log_scale: Tensor, most: float) -> ScaledRows:
    """(n, d) outputs at length exp(min(log_scale, most)), and their scores with the (n, d) bf16 targets."""
    outputs, targets = (rows if rows.stride(1) == 1 else rows.contiguous() for rows in (outputs, targets))
    count, width = outputs.shape
    rows = torch.empty((count, width), dtype=targets.dtype, device=outputs.device)
    lengths, own = (torch.empty(count, dtype=torch.float32, device=outputs.device) for _ in range(2))
    _scaled[(count,)](
        outputs, targets, log_scale, most, rows, lengths, own, width, outputs.stride(0), targets.stride(0),
        BLOCK=triton.next_power_of_2(width), num_warps=4,
    )  # fmt: skip
    return ScaledRows(rows, lengths, own)


def to_slopes(scores: Tensor, own: Tensor, image_weight: float) -> Tensor:
    """Turn (n, n) bf16 scores into the gradient of InfoNCE's mean, in place.

    Args:
        own: (n,) float32, what stands in the diagonal.
        image_weight: of the softmax over columns beside that over rows, 0 for rows alone.

    Returns:
        (n,) float32 losses of the rows.
    """
    count = len(scores)
    losses = torch.empty_like(own)
    wide = {"BLOCK": triton.next_power_of_2(count), "num_warps": 8}
    if image_weight == 0:
        _one_way[(count,)](scores, own, losses, count, **wide)
        return losses
    by_row, by_column = torch.empty_like(own), torch.empty_like(own)
    _row_sums[(count,)](scores, own, by_row, count, **wide)
    number, strips = triton.cdiv(count, ROWS_A_PART), triton.cdiv(count, COLUMNS_A_PART)
    parts = torch.empty((number, count), dtype=torch.float32, device=scores.device)
    _column_parts[(strips, number)](scores, own, parts, count, ROWS=ROWS_A_PART, COLUMNS=COLUMNS_A_PART, num_warps=8)
    _column_sums[(strips,)](
        parts, by_column, count, number, PARTS=triton.next_power_of_2(number), COLUMNS=COLUMNS_A_PART
    )
    _both_ways[(count,)](scores, own, by_row, by_column, losses, count, image_weight, **wide)
    return losses


def unscaled(
    for_rows: Tensor, scaled_rows: ScaledRows, log_scale: Tensor, most: float, factor: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor]:
    """The way back of :func:`scaled`.

    Args:
        for_rows: (n, d) gradient of the rows.
        factor: float32 scalar that it is multiplied by.
        dtype: of the outputs.

    Returns:
        (n, d) gradient of the outputs, and (n,) float32 parts of that of ``log_scale``.
    """
    count, width = for_rows.shape
    for_outputs = torch.empty((count, width), dtype=dtype, device=for_rows.device)
    for_scale = torch.empty_like(scaled_rows.lengths)
    _unscaled[(count,)](
        for_rows, scaled_rows.rows, scaled_rows.lengths, log_scale, most, factor, for_outputs, for_scale, width,
        BLOCK=triton.next_power_of_2(width), num_warps=4,
    )  # fmt: skip
    return for_outputs, for_scale
