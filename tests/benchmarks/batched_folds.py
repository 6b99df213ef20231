"""All folds of a small translator as one batched model, beside folds one after the other.

Stacked parameters, ``torch.func.functional_call`` under ``vmap`` for all folds at once, one fused Adam over the stacks; the loss is the
sum of the folds' losses, so each fold's gradient is its own. Both ways do the same steps on batches of the same size; that they come to
the same weights is checked first. Times are rounds in turns, wall and processor time::

    python -m tests.benchmarks.batched_folds
    python -m tests.benchmarks.batched_folds --threads 1 --rounds 7
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from kaggle_kit.training.bench import Spread, synchronize
from tests.benchmarks.history import machine, remember

FOLDS = 5


@dataclass(frozen=True)
class Size:
    """A translator's dimensions, and captions a step."""

    d_text: int
    hidden: int
    d_image: int
    batch: int


SIZES = {
    "tiny": Size(32, 64, 48, 64),
    "small": Size(128, 256, 192, 128),
    "middle": Size(256, 512, 384, 256),
    "competition": Size(1024, 2048, 1536, 256),
}


def main() -> None:
    """Check that both ways agree, time them, print the table, add the lines."""
    options = _options()
    torch.set_num_threads(options.threads or torch.get_num_threads())
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(
        f"{machine()}, {torch.get_num_threads()} threads, {FOLDS} folds, {options.rounds} rounds of {options.steps} steps"
    )
    print(
        f"{'':13}{'dimensions':>18}{'batch':>7}{'one by one':>13}{'batched':>11}{'gain (wall)':>24}{'gain (CPU)':>24}"
    )
    for name in options.sizes:
        size = SIZES[name]
        check(size, device)
        lines = _rounds(size, options, device)
        gains = [Spread.of([line[k] / line[k + 2] for line in lines]) for k in (0, 1)]
        speeds = [FOLDS * size.batch * options.steps / Spread.of([line[k] for line in lines]).median for k in (0, 2)]
        shown = [f"{gain.median:.2f} ({gain.low:.2f} to {gain.high:.2f})" for gain in gains]
        shape = f"{size.d_text}-{size.hidden}-{size.d_image}"
        print(
            f"{name:13}{shape:>18}{size.batch:7}{speeds[0]:11,.0f}/s{speeds[1]:9,.0f}/s{shown[0]:>24}{shown[1]:>24}",
            flush=True,
        )
        figures = {"size": name, "device": device, "one_by_one": speeds[0], "batched": speeds[1]}
        remember("batched_folds", {**figures, "gain_wall": vars(gains[0]), "gain_cpu": vars(gains[1])})


def network(size: Size) -> nn.Module:
    """A LayerNorm-SiLU network of one hidden layer; dropout is left out, so that both ways can be compared."""
    return nn.Sequential(
        nn.Linear(size.d_text, size.hidden), nn.LayerNorm(size.hidden), nn.SiLU(), nn.Linear(size.hidden, size.d_image)
    )


def loss_of(outputs: Tensor, targets: Tensor) -> Tensor:
    """Symmetric InfoNCE of one fold, (batch, d) and (batch, d)."""
    logits = F.normalize(outputs, dim=1) @ targets.T / 0.07
    return (logits.logsumexp(0).mean() + logits.logsumexp(1).mean()) / 2 - logits.diagonal().mean()


class OneByOne:
    """A model, an optimiser and a loop a fold."""

    def __init__(self, models: list[nn.Module]) -> None:
        self.models = models
        self.optimizers = [torch.optim.Adam(model.parameters(), lr=1e-3, fused=True) for model in models]

    def train(self, text: Tensor, targets: Tensor) -> None:
        """Train each fold to its end; (steps, folds, batch, d) both."""
        for fold, (model, optimizer) in enumerate(zip(self.models, self.optimizers, strict=True)):
            for inputs, wanted in zip(text[:, fold], targets[:, fold], strict=True):
                optimizer.zero_grad(set_to_none=True)
                loss_of(model(inputs), wanted).backward()
                optimizer.step()


class Batched:
    """One model with a dimension of folds before all others."""

    def __init__(self, models: list[nn.Module]) -> None:
        self.skeleton = models[0]
        self.parameters = {
            name: stack.detach().clone().requires_grad_() for name, stack in stack_module_state(models)[0].items()
        }
        self.optimizer = torch.optim.Adam(self.parameters.values(), lr=1e-3, fused=True)
        self.losses = vmap(lambda parameters, x, y: loss_of(functional_call(self.skeleton, parameters, (x,)), y))

    def train(self, text: Tensor, targets: Tensor) -> None:
        """Train all folds, step by step."""
        for inputs, wanted in zip(text, targets, strict=True):
            self.optimizer.zero_grad(set_to_none=True)
            self.losses(self.parameters, inputs, wanted).sum().backward()
            self.optimizer.step()


def batches(size: Size, steps: int, device: str) -> tuple[Tensor, Tensor]:
    """Noise: (steps, folds, batch, d_text) and unit (steps, folds, batch, d_image)."""
    text = torch.randn(steps, FOLDS, size.batch, size.d_text, device=device)
    return text, F.normalize(torch.randn(steps, FOLDS, size.batch, size.d_image, device=device), dim=-1)


def check(size: Size, device: str) -> None:
    """Both ways come to the same weights, but for rounding.

    Raises:
        AssertionError: they do not.
    """
    models = [network(size).to(device) for _ in range(FOLDS)]
    text, targets = batches(size, 2, device)
    batched = Batched(models)
    batched.train(text, targets)
    OneByOne(models).train(text, targets)
    for fold, model in enumerate(models):
        for name, weight in model.named_parameters():
            torch.testing.assert_close(batched.parameters[name][fold], weight, rtol=1e-3, atol=1e-4)


def _rounds(size: Size, options: argparse.Namespace, device: str) -> list[list[float]]:
    """Wall and processor seconds of one by one, then of batched, in each round; one round before does not count."""
    models = [network(size).to(device) for _ in range(FOLDS)]
    ways: list[Callable[[Tensor, Tensor], None]] = [Batched(models).train, OneByOne(models).train][::-1]
    found = []
    for _ in range(options.rounds + 1):
        data, line = batches(size, options.steps, device), []
        for train in ways:
            synchronize(device)
            wall, processor = time.perf_counter(), time.process_time()
            train(*data)
            synchronize(device)
            line += [time.perf_counter() - wall, time.process_time() - processor]
        found.append(line)
    return found[1:]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES)[:3])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int)
    return parser.parse_args()


if __name__ == "__main__":
    main()
