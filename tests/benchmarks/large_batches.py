"""Memory and time of one loss and its gradient over a large batch: the whole score matrix, and tiles that are computed again.

Each measurement is a process of its own; memory is what its peak grew by (on a GPU: what PyTorch allocated at most)::

    python -m tests.benchmarks.large_batches
    python -m tests.benchmarks.large_batches --batches 8192 16384 32768 --width 1536 --loss infonce_multi_positive
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from kaggle_kit.training.losses import build_loss
from tests.benchmarks.history import remember


def main() -> None:
    """Measure every batch both ways, print the table, add the lines."""
    options = _options()
    if options.one is not None:
        print(json.dumps(measure(options.one, options.block, options.width, options.loss)))
        return
    print(f"{'batch':>8}  {'whole: MB':>10}{'seconds':>9}  {'tiles: MB':>10}{'seconds':>9}   gradients differ by")
    for batch in options.batches:
        whole, tiles = (_in_a_process(batch, block, options) for block in (batch, options.block))
        apart = abs(whole["norm"] - tiles["norm"]) / whole["norm"]
        print(
            f"{batch:8,}  {whole['mb']:10,.0f}{whole['seconds']:9.2f}  {tiles['mb']:10,.0f}{tiles['seconds']:9.2f}   {apart:.1e}",
            flush=True,
        )
        figures = {"loss": options.loss, "batch": batch, "width": options.width, "block": options.block}
        remember("large_batches", {**figures, "whole": whole, "tiles": tiles})


def measure(batch: int, block: int, width: int, loss: str) -> dict[str, float]:
    """One loss with its gradient to the outputs, after a small one that pays for set-up."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    judge = build_loss(loss, {"block": block}).to(device)
    _graded(judge, 64, width, device)
    torch.manual_seed(0)
    outputs = torch.randn(batch, width, device=device, requires_grad=True)
    targets = torch.nn.functional.normalize(torch.randn(batch, width, device=device), dim=1)
    images = torch.arange(batch, device=device) // 2
    before = _peak(device)
    started = time.perf_counter()
    judge(outputs, targets, images).backward()
    norm = float(outputs.grad.norm())  # waits for the device, too
    return {"seconds": time.perf_counter() - started, "mb": _peak(device) - before, "norm": norm}


def _graded(judge: torch.nn.Module, batch: int, width: int, device: str) -> None:
    outputs = torch.randn(batch, width, device=device, requires_grad=True)
    judge(outputs, torch.randn(batch, width, device=device), torch.arange(batch, device=device)).backward()


def _peak(device: str) -> float:
    """Most memory so far, MB."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1e6 if sys.platform == "darwin" else 1e3)


def _in_a_process(batch: int, block: int, options: argparse.Namespace) -> dict[str, float]:
    given = {"--one": batch, "--block": block, "--width": options.width, "--loss": options.loss}
    words = [str(word) for pair in given.items() for word in pair]
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.large_batches", *words], check=True, capture_output=True, text=True
    )
    return json.loads(done.stdout)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", type=int, nargs="+", default=[4096, 8192, 16384])
    parser.add_argument("--block", type=int, default=2048, help="the setting loss.block of the tiled measurement")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--loss", default="infonce_symmetric")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
