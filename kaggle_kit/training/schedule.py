"""The course of the learning rate, a function of the step alone, so that a resumed run needs no scheduler state."""

from __future__ import annotations

import math

from kaggle_kit.settings import TrainSettings


def learning_rate(step: int, total_steps: int, settings: TrainSettings) -> float:
    """The rate of ``step`` (from 0): linear warm-up, then cosine annealing to its final share or a constant."""
    warmup = round(settings.warmup_fraction * total_steps)
    if step < warmup:
        return settings.learning_rate * (step + 1) / warmup
    if settings.schedule == "constant":
        return settings.learning_rate
    done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
    low = settings.final_lr_fraction
    return settings.learning_rate * (low + (1 - low) * (1 + math.cos(math.pi * done)) / 2)
