"""What a training step frees is kept for the next one."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of ``mallopt(3)``."""

LARGEST_MB, KEPT_MB = 32, 512


@cache
def keep_freed_memory() -> None:
    """Let the GNU C library keep up to ``KEPT_MB`` of freed memory, and allocate tensors of up to ``LARGEST_MB`` from it.

    Left alone it hands the memory of a step's activations and gradients back when they are freed, or does not, by what happens to lie
    behind them; where it does, each step gets thousands of empty pages from the system, a tenth to a fifth of a step on a CPU. Does
    nothing with another allocator, or where the environment has settings of its own (``MALLOC_TRIM_THRESHOLD_``).

    Source: PyTorch Performance Tuning Guide (memory allocator); ``mallopt(3)``.
    """
    if platform.libc_ver()[0] != "glibc" or any(name.startswith("MALLOC_") for name in os.environ):
        return
    library = ctypes.CDLL(None)
    library.mallopt(M_MMAP_THRESHOLD, LARGEST_MB << 20)
    library.mallopt(M_TRIM_THRESHOLD, KEPT_MB << 20)
