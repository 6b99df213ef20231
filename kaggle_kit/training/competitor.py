"""A process that takes part in a benchmark: ``python -m kaggle_kit.training.competitor``, started by ``bench.Apart``.

The first line on standard input says what to do; each further line asks for a round, and its end means: leave. Answers go to standard
output (see ``channel``).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from kaggle_kit.progress import Silence
from kaggle_kit.training.bench import (
    HELD_OUT_IMAGES,
    Competitor,
    MatrixFloor,
    Orders,
    ReferenceLoop,
    hold_out,
    made_up_pairs,
    noise_pairs,
)
from kaggle_kit.training.channel import Channel
from kaggle_kit.training.crossvalidation import cross_validate


class _LeaveError(Exception):
    """Nobody asks for further rounds."""


def main() -> int:
    """Work until nobody asks any more; the exit code."""
    channel = Channel(0)
    try:
        orders = Orders.from_json(sys.stdin.buffer.readline())
        torch.set_num_threads(orders.hardware.threads)
        if orders.what == "training":
            _train(orders, channel)
        else:
            _compete(orders, channel)
    except _LeaveError:
        return 0
    except BaseException as error:  # told where the round was asked for
        channel.failed(error)
        return 1
    return 0


def _compete(orders: Orders, channel: Channel) -> None:
    size = orders.samples, orders.hardware, orders.batch, orders.d_text, orders.d_image
    competitor: Competitor = ReferenceLoop(*size) if orders.what == "loop" else MatrixFloor(*size)
    channel.tell("ready", samples=competitor.samples)
    while True:
        _wait()
        channel.tell("round", figures={"samples_per_s": competitor.round()}, memory_mb=peak_memory_mb(orders))


def _train(orders: Orders, channel: Channel) -> None:
    """Our own training, by the function that trains every run, held after each epoch until the next is asked for."""
    assert orders.settings is not None
    if orders.world:
        images = orders.samples // orders.captions_an_image
        pairs, held_out = made_up_pairs(images, orders.d_text, orders.d_image), max(2, images // 10)
    else:
        pairs = noise_pairs(orders.samples, orders.d_text, orders.d_image, captions_an_image=orders.captions_an_image)
        held_out = HELD_OUT_IMAGES
    folds = hold_out(pairs, held_out)
    channel.tell("ready", samples=int((folds.fold_of_image[pairs.image_of_caption] < 0).sum()))
    _wait()
    with tempfile.TemporaryDirectory(prefix="kk-bench-") as folder:
        watch = _Epochs(orders, channel)
        result = cross_validate(pairs, folds, orders.settings, Path(folder), header={}, progress=watch)
    channel.tell("ended", mrr=result.score.mrr, memory_mb=peak_memory_mb(orders))


class _Epochs(Silence):
    """Tells each epoch of a training, and waits until the next is asked for."""

    def __init__(self, orders: Orders, channel: Channel) -> None:
        self.orders, self.channel = orders, channel

    def start(self, what: str, total: float | None = None, unit: str = "", *, done: float = 0.0) -> _Epochs:  # type: ignore[override]
        return self

    def update(self, done: float, **figures: Any) -> None:
        if "samples_per_s" in figures:
            self.channel.tell("round", figures=figures, memory_mb=peak_memory_mb(self.orders))
            _wait()

    def finish(self, summary: str = "") -> None:
        pass


def _wait() -> None:
    if not sys.stdin.buffer.readline():
        raise _LeaveError


def peak_memory_mb(orders: Orders) -> float | None:
    """Most memory so far: of the GPU by PyTorch's count, else of this process where the system tells."""
    if orders.hardware.device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3


if __name__ == "__main__":
    sys.exit(main())
