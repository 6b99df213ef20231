"""Prediction speed: ``Translator.translate``, which every prediction goes through, beside its bare fp32 matrix products, in turns.

Wall time on a machine that others use says little; the share is therefore given in processor time, too::

    python -m tests.benchmarks.prediction
    python -m tests.benchmarks.prediction --captions 4000 --rounds 3 --threads 1
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from kaggle_kit.training.bench import Spread, synchronize
from kaggle_kit.translators import build_translator
from kaggle_kit.translators.base import BLOCK_ROWS
from tests.benchmarks.history import machine, remember

D_TEXT, D_IMAGE = 1024, 1536
PRODUCTS = {
    "residual_mlp": [(1024, 2048), (2048, 1536), (1024, 1536)],
    "subspace_mlp": [(1024, 1024), (768, 1536), (1536, 768), (768, 1536), (1024, 1536)],
}
"""The matrices that a caption is multiplied by, with default options."""


def main() -> None:
    """Measure, print the table, add the lines."""
    options = _options()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{machine()}, {torch.get_num_threads()} threads, {options.captions:,} captions, {options.rounds} rounds")
    print(f"{'':14}{'captions/s':>12}{'products alone':>16}{'share (wall)':>22}{'share (CPU)':>22}")
    for name, shapes in PRODUCTS.items():
        captions = torch.randn(options.captions, D_TEXT)
        rounds = _rounds(
            _prediction(name, captions, device), _floor(shapes, options.captions, device), options.rounds, device
        )
        figures = _figures(rounds, options.captions)
        print(
            f"{name:14}{figures['captions_per_s']:12,.0f}{figures['floor_captions_per_s']:16,.0f}"
            f"{_shown(figures['share_wall']):>22}{_shown(figures['share_cpu']):>22}",
            flush=True,
        )
        remember("prediction", {"translator": name, "captions": options.captions, "device": device, **figures})


def _prediction(name: str, captions: torch.Tensor, device: str) -> Callable[[], object]:
    """Translation by weights of no meaning: speed does not depend on them."""
    translator = build_translator(name, D_TEXT, D_IMAGE, {}).to(device)
    with torch.no_grad():
        for buffer in translator.buffers():
            buffer.normal_()
    return lambda: translator.translate(captions)


def _floor(shapes: list[tuple[int, int]], captions: int, device: str) -> Callable[[], object]:
    """The same products in the same blocks."""
    pairs = [(torch.randn(BLOCK_ROWS, shape[0], device=device), torch.randn(*shape, device=device)) for shape in shapes]
    sizes = [min(BLOCK_ROWS, captions - start) for start in range(0, captions, BLOCK_ROWS)]

    def products() -> None:
        for size in sizes:
            for rows, matrix in pairs:
                rows[:size] @ matrix

    return products


def _rounds(ours: Callable[[], object], floor: Callable[[], object], rounds: int, device: str) -> list[list[float]]:
    """Wall and processor seconds of ours, then of the floor, in each round; one round before does not count."""
    found = []
    for _ in range(rounds + 1):
        line: list[float] = []
        for work in (ours, floor):
            synchronize(device)
            wall, processor = time.perf_counter(), time.process_time()
            work()
            synchronize(device)
            line += [time.perf_counter() - wall, time.process_time() - processor]
        found.append(line)
    return found[1:]


def _figures(rounds: list[list[float]], captions: int) -> dict[str, object]:
    shares = {
        "wall": Spread.of([line[2] / line[0] for line in rounds]),
        "cpu": Spread.of([line[3] / line[1] for line in rounds]),
    }
    return {
        "captions_per_s": Spread.of([captions / line[0] for line in rounds]).median,
        "floor_captions_per_s": Spread.of([captions / line[2] for line in rounds]).median,
        **{f"share_{clock}": [share.median, share.low, share.high] for clock, share in shares.items()},
    }


def _shown(share: object) -> str:
    median, low, high = share  # type: ignore[misc]
    return f"{median:.0%} ({low:.0%} to {high:.0%})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--captions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
