"""Dropout that is quick on a CPU: masks are cut at random places out of one long one."""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POOL = 1 << 23
"""Numbers in the long mask. Drawing fresh ones on one CPU thread costs as much as a matrix product of the same batch."""


def dropout(x: Tensor, share: float) -> Tensor:
    """``x`` with ``share`` of its numbers at zero and the others scaled up; as ``F.dropout``, but for where CPU masks come from.

    On a CPU the mask is a stretch of a fixed pool of eight million draws that begins at a random place, taken from torch's global
    generator: a state of that generator decides the mask.
    """
    if x.device.type != "cpu" or x.numel() > POOL // 2:
        return F.dropout(x, share)
    start = int(torch.randint(0, POOL - x.numel(), (1,)))
    return x * _pool(share, x.dtype)[start : start + x.numel()].view(x.shape)


@lru_cache(maxsize=4)  # 16 or 32 MB each: those of a translator, not of all that a sweep tried
def _pool(share: float, dtype: torch.dtype) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.empty(POOL, dtype=dtype).bernoulli_(1 - share, generator=generator).div_(1 - share)


class Dropout(nn.Module):
    """``nn.Dropout`` by ``dropout``."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    @property
    def now(self) -> float:
        """The share that is dropped: none in evaluation mode."""
        return self.share if self.training else 0.0

    def forward(self, x: Tensor) -> Tensor:
        """Any shape; unchanged in evaluation mode."""
        return dropout(x, self.share) if self.now > 0 else x
