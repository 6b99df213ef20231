"""One JSON line a measurement in ``history.jsonl``: when, which commit, which machine, which command, which figures."""

from __future__ import annotations

import json
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from kaggle_kit.archive import provenance

HISTORY = Path(__file__).with_name("history.jsonl")


def machine() -> str:
    """The processor or the card, as people know it."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def remember(benchmark: str, figures: dict[str, Any], path: Path = HISTORY) -> None:
    """Append one line.

    Args:
        benchmark: its module's name.
        figures: what was measured, and of what size.
        path: the history.
    """
    made = provenance(Path(__file__).parent)
    line = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "benchmark": benchmark,
        "commit": (made["git"] or {}).get("commit"),
        "dirty": (made["git"] or {}).get("dirty"),
        "torch": torch.__version__,
        "machine": machine(),
        "command": " ".join(["python", "-m", f"tests.benchmarks.{benchmark}", *sys.argv[1:]]),
        "threads": torch.get_num_threads(),
        "figures": figures,
    }
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
