"""What all members of a run have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaggle_kit.config import Settings
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.training.collective import ALONE, Alone
from kaggle_kit.training.interrupts import StopRequest
from kaggle_kit.training.precision import Hardware


@dataclass(frozen=True)
class RunContext:
    """Where and how the members of a run are trained.

    Attributes:
        folder: the run's; each member has one inside.
        header: what each checkpoint says about its origin beside the translator's name and options.
        stop: asked between steps.
        progress: told of everything that people may want to know.
        collective: the processes that train each member together; a process alone by default.
    """

    settings: Settings
    hardware: Hardware
    folder: Path
    header: Mapping[str, Any] = field(default_factory=dict)
    stop: StopRequest = field(default_factory=StopRequest)
    progress: Progress = SILENCE
    collective: Alone = ALONE
