"""Training speed: the original notebook's loop, ours with the same network, and the bare matrix products, in turns.

The table of ``kk bench``, with a line added to ``history.jsonl``::

    python -m tests.benchmarks.training
    python -m tests.benchmarks.training --precision bf16 --batch 4096 --samples 204800 --compile
    python -m tests.benchmarks.training --time-to 0.8
"""

from __future__ import annotations

import argparse

from rich.console import Console

import kaggle_kit
from kaggle_kit import render
from tests.benchmarks.history import remember


def main() -> None:
    """Measure, print the table, add the line."""
    options = _options()
    overrides = {
        "train.precision": options.precision,
        "train.compile": options.compile,
        "train.kernels": options.kernels,
        "translator.name": options.translator,
    }
    if options.threads is not None:
        overrides["train.threads"] = options.threads
    found = kaggle_kit.bench(
        kaggle_kit.load_project(overrides=overrides),
        batch=options.batch,
        rounds=options.rounds,
        samples=options.samples,
        time_to=options.time_to,
        progress=kaggle_kit.show_progress(),
    )
    console = Console()
    for part in render.benchmark(found):
        console.print(part)
    remember("training", found.to_dict())


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16", "fp16"))
    parser.add_argument("--translator", default="subspace_mlp", help="beside the original network")
    parser.add_argument("--batch", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--compile", action="store_true", help="the setting train.compile, on a GPU")
    parser.add_argument("--kernels", action="store_true", help="the setting train.kernels, on a GPU")
    parser.add_argument("--time-to", type=float, metavar="MRR")
    return parser.parse_args()


if __name__ == "__main__":
    main()
