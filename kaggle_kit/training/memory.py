"""What a training step frees is kept for the next one; what does not fit is told."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from kaggle_kit.errors import TrainingError

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


_TOO_MUCH = ("can't allocate memory", "out of memory", "ALLOC_FAILED")
"""What PyTorch's errors say where memory is short; on a CPU they have no type of their own."""


@contextmanager
def memory_told(what: str, batch_size: int) -> Iterator[None]:
    """Name what did not fit into memory, and what to make smaller.

    Raises:
        TrainingError: memory ran out inside.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error)
        if not isinstance(error, MemoryError) and not any(words in text for words in _TOO_MUCH):
            raise
        raise TrainingError(
            f"{what} does not fit into memory: {text.splitlines()[0] if text else type(error).__name__}",
            f"lower train.batch_size (now {batch_size}; train.accumulate makes up for it) or the translator's sizes",
        ) from error
