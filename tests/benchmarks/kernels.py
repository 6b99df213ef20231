"""What a step by kernels (``train.kernels``) of the original network consists of: microseconds of each kernel and each matrix product.

Each is called in a CUDA graph, many times in a row; the median of some replays. Behind a kernel stand the gigabytes a second that it moves,
each number read and written once, and how it does with other numbers of warps and programs. At the end the whole step, beside the same
without kernels and the bare products::

    python -m tests.benchmarks.kernels --batch 4096

Without a GPU it only shows that it works: ``TRITON_INTERPRET=1 python -m tests.benchmarks.kernels --batch 8 --calls 1 --rounds 1``.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from kaggle_kit.kernels import adam, scores, stages
from kaggle_kit.progress import SILENCE
from kaggle_kit.settings import TrainSettings
from kaggle_kit.training.bench import HELD_OUT_IMAGES, MatrixFloor, hold_out, noise_pairs
from kaggle_kit.training.context import RunContext
from kaggle_kit.training.fold import fold_data
from kaggle_kit.training.loop import GradientLoop
from kaggle_kit.training.precision import choose_hardware
from kaggle_kit.training.state import StateFiles
from kaggle_kit.translators import build_translator
from kaggle_kit.workflow.bench import _original_settings
from tests.benchmarks.history import remember

D_TEXT, HIDDEN, D_IMAGE = 1024, 2048, 1536
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
MOST = -math.log(0.01)
NEVER = 10**6


def main() -> None:
    """Measure all parts, then the step, print and add the line."""
    options = _options()
    timer = Timer(options.calls, options.rounds)
    found: dict[str, Any] = {"batch": options.batch, "products": products(options.batch, timer)}
    print(f"matrix products: {sum(found['products'].values()):.1f} µs", flush=True)
    for name, microseconds in found["products"].items():
        print(f"  {name:24}{microseconds:9.1f} µs")
    found["kernels"] = {}
    for name, moved, variants in kernels(options.batch):
        times = {variant: timer(call) for variant, call in variants.items()}
        chosen, *others = times.items()
        found["kernels"][name] = times
        rest = ", ".join(f"{variant} {microseconds:.1f}" for variant, microseconds in others)
        print(f"  {name:24}{chosen[1]:9.1f} µs {moved / chosen[1] / 1e3:8.0f} GB/s   {chosen[0]}; {rest}", flush=True)
    found["step"] = steps(options)
    for name, microseconds in found["step"].items():
        print(f"{name:26}{microseconds:9.1f} µs")
    print(f"of the bare products: {100 * found['step']['bare products'] / found['step']['by kernels']:.1f} %")
    remember("kernels", found)


class Timer:
    """Microseconds of one call, out of a graph of many."""

    def __init__(self, calls: int, rounds: int) -> None:
        self.calls, self.rounds = calls, rounds

    def __call__(self, call: Callable[[], object]) -> float:
        """The median over the rounds."""
        run = self._recorded(call) if DEVICE == "cuda" else lambda: [call() for _ in range(self.calls)]
        run()
        return statistics.median(self._seconds(run) for _ in range(self.rounds)) * 1e6 / self.calls

    def _recorded(self, call: Callable[[], object]) -> Callable[[], object]:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(3):  # compile, and choose kernels
                call()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            for _ in range(self.calls):
                call()
        return graph.replay

    @staticmethod
    def _seconds(run: Callable[[], object]) -> float:
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        if DEVICE == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - started


def short(*shape: int) -> Tensor:
    """Noise in bf16."""
    return torch.randn(*shape, device=DEVICE, dtype=torch.bfloat16)


def products(batch: int, timer: Timer) -> dict[str, float]:
    """The matrix products of a step as it computes them."""
    text, hidden, out, targets = (
        short(batch, D_TEXT),
        short(batch, HIDDEN),
        short(batch, D_IMAGE),
        short(batch, D_IMAGE),
    )
    enter, leave, skip, table = (
        short(HIDDEN, D_TEXT),
        short(D_IMAGE, HIDDEN),
        short(D_IMAGE, D_TEXT),
        short(batch, batch),
    )
    gradients = [torch.empty_like(weight) for weight in (enter, leave, skip)]
    calls: dict[str, Callable[[], object]] = {
        "text, first layer": lambda: text @ enter.T,
        "hidden, second layer": lambda: hidden @ leave.T,
        "text, projection": lambda: text @ skip.T,
        "scores": lambda: out @ targets.T,
        "slopes to outputs": lambda: table @ targets,
        "outputs to hidden": lambda: out @ leave,
        "first layer's gradient": lambda: torch.mm(hidden.T, text, out=gradients[0]),
        "second layer's gradient": lambda: torch.mm(out.T, hidden, out=gradients[1]),
        "projection's gradient": lambda: torch.mm(out.T, text, out=gradients[2]),
    }
    return {name: timer(call) for name, call in calls.items()}


Variants = dict[str, Callable[[], object]]
"""The same work in several ways, the one that is used first."""


def kernels(batch: int) -> Iterator[tuple[str, int, Variants]]:
    """Name, bytes moved, and ways of each kernel."""
    yield from _stage_kernels("first stage", short(batch, HIDDEN), None, "gelu", 0.2)
    yield from _stage_kernels("second stage", short(batch, D_IMAGE), short(batch, D_IMAGE), "gelu", 0.0)
    yield from _score_kernels(batch)
    yield from _adam_kernels()


def _stage_kernels(
    name: str, product: Tensor, other: Tensor | None, activation: str, share: float
) -> Iterator[tuple[str, int, Variants]]:
    width = product.shape[1]
    vectors, places = (
        stages.StageVectors(*(torch.randn(width, device=DEVICE) for _ in range(3 + (other is not None))))
        for _ in range(2)
    )
    form, seed = stages.StageForm(activation, share), torch.tensor([12345], device=DEVICE)
    numbers = product.numel() * product.element_size()
    inputs = 1 + (other is not None)

    def forward(warps: int) -> Callable[[], object]:
        def call() -> object:
            with changed(stages, FORWARD_WARPS=warps):
                return stages.forward(product, other, vectors, form, seed)

        return call

    yield f"{name}, there", numbers * (inputs + 1), {f"{warps} warps": forward(warps) for warps in (4, 2, 8)}
    gradient, memory = short(*product.shape), stages.forward(product, other, vectors, form, seed)[1]

    def backward(warps: int, programs: int) -> Callable[[], object]:
        def call() -> object:
            with changed(stages, BACKWARD_WARPS=warps, BACKWARD_PROGRAMS=programs):
                return stages.backward(gradient, product, other, vectors, form, memory, places)

        return call

    ways = [(8, 264), (4, 264), (16, 264), (8, 132), (4, 528), (8, 528), (16, 132)]
    yield f"{name}, back", numbers * (1 + 2 * inputs), {f"{w} warps x {p}": backward(w, p) for w, p in ways}


@contextmanager
def changed(module: Any, **values: int) -> Iterator[None]:
    """Other constants of a module within the block."""
    former = {name: getattr(module, name) for name in values}
    vars(module).update(values)
    try:
        yield
    finally:
        vars(module).update(former)


def _score_kernels(batch: int) -> Iterator[tuple[str, int, Variants]]:
    outputs, targets = short(batch, D_IMAGE), F.normalize(short(batch, D_IMAGE), dim=1)
    log_scale, one = torch.full((), 2.6, device=DEVICE), torch.ones((), device=DEVICE)
    numbers, table_bytes = 2 * outputs.numel(), 2 * batch * batch
    found = scores.scaled(outputs, targets, log_scale, MOST)
    yield "unit rows", 3 * numbers, {"4 warps": lambda: scores.scaled(outputs, targets, log_scale, MOST)}
    table = found.rows @ targets.T
    yield "softmax, one way", 2 * table_bytes, {"8 warps": lambda: scores.to_slopes(table, found.own, 0.0)}
    yield "softmax, both ways", 4 * table_bytes, {"8 warps": lambda: scores.to_slopes(table, found.own, 1.0)}
    back = {"4 warps": lambda: scores.unscaled(outputs, found, log_scale, MOST, one, torch.bfloat16)}
    yield "unit rows, back", 3 * numbers, back


def _adam_kernels() -> Iterator[tuple[str, int, Variants]]:
    count, vector_count = D_TEXT * HIDDEN + HIDDEN * D_IMAGE + D_TEXT * D_IMAGE, 2 * HIDDEN + HIDDEN + 4 * D_IMAGE
    matrices, vectors = _stretch(count, torch.bfloat16), _stretch(vector_count, torch.float32)
    form = adam.AdamForm(0.9, 0.999, 1e-8, decoupled=False)
    logs = torch.tensor([math.log(0.9), math.log(0.999)], dtype=torch.float64, device=DEVICE)
    rate, step, none = (torch.full((), value, device=DEVICE) for value in (1e-9, 1.0, 0.0))

    def check() -> object:
        return adam.check(matrices.gradients, vectors.gradients, none, none)

    def move(numbers: int) -> Callable[[], object]:
        def call() -> object:
            with changed(adam, MOVED=numbers):
                return adam.move(matrices, vectors, form, rate, step, logs, none)

        return call

    yield "check of gradients", 2 * count, {f"{adam.CHECKED} a program": check}
    yield "Adam", 28 * count, {f"{numbers} a program": move(numbers) for numbers in (2048, 1024, 4096)}


def _stretch(count: int, dtype: torch.dtype) -> adam.Stretch:
    weights, averages, squares, gradients = (1e-3 * torch.randn(count, device=DEVICE) for _ in range(4))
    copies = weights.to(dtype) if dtype == torch.bfloat16 else None
    return adam.Stretch(
        weights, averages, squares.abs(), gradients.to(dtype), copies, torch.zeros((), device=DEVICE), decays=False
    )


def steps(options: argparse.Namespace) -> dict[str, float]:
    """Microseconds of a whole step, by kernels and without, and of the bare products, in turns."""
    hardware = choose_hardware(DEVICE, "bf16")
    floor = MatrixFloor(options.batch * options.steps, hardware, options.batch, D_TEXT, D_IMAGE)
    loops = {"by kernels": _loop(options, kernels=True), "without": _loop(options, kernels=False)}
    speeds: dict[str, list[float]] = {"bare products": [], **{name: [] for name in loops}}
    for number in range(options.rounds + 1):
        round_speeds = {"bare products": floor.round(), **{name: _epoch(loop) for name, loop in loops.items()}}
        for name, speed in round_speeds.items() if number else ():  # the first pays for set-up
            speeds[name].append(speed)
    return {name: options.batch / statistics.median(values) * 1e6 for name, values in speeds.items()}


def _loop(options: argparse.Namespace, *, kernels: bool) -> GradientLoop:
    settings = _original_settings(TrainSettings(kernels=kernels), batch=options.batch)
    train = replace(
        settings.train, device=DEVICE, precision="bf16", epochs=NEVER, patience=None, validate_every=NEVER,
        checkpoint_minutes=NEVER,
    )  # fmt: skip
    pairs = noise_pairs(options.batch * options.steps, D_TEXT, D_IMAGE)
    held_out = hold_out(pairs, HELD_OUT_IMAGES).fold_of_image[pairs.image_of_caption] == 0
    data = fold_data(
        pairs.text, pairs.images, pairs.image_of_caption, np.flatnonzero(~held_out), np.flatnonzero(held_out),
        gallery_size=HELD_OUT_IMAGES,
    )  # fmt: skip
    made = build_translator(settings.translator.name, D_TEXT, D_IMAGE, settings.translator.options)
    made.prepare(data.fit_data(0, "cpu"))
    folder = Path(tempfile.mkdtemp())
    context = RunContext(replace(settings, train=train), choose_hardware(DEVICE, "bf16"), folder)
    states = StateFiles(folder, margin_mb=0, note=print)
    return GradientLoop(made.to(DEVICE), data, context, seed=0, states=states, task=SILENCE.start("fold"))


def _epoch(loop: GradientLoop) -> float:
    loop._run_epoch()
    return float(loop.position.history[-1]["samples_per_s"])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--calls", type=int, default=20, help="calls in a graph")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=25, help="steps of a round of the whole step")
    return parser.parse_args()


if __name__ == "__main__":
    main()
