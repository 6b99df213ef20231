"""Where randomness comes from: every stream is a function of the run's seed and what it is for, never of the order of work."""

from __future__ import annotations

import hashlib

import torch


def derive_seed(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one purpose (fold, seed number, epoch, …): equal arguments, equal seed, on every platform."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def generator_for(seed: int, *purpose: object) -> torch.Generator:
    """A CPU generator of its own for one purpose."""
    return torch.Generator().manual_seed(derive_seed(seed, *purpose))
