"""What people see: one console on stderr for messages and progress, stdout for results and data.

Names are resolved when first used, so that importing this package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kaggle_kit.render.screen import Screen as Screen

_PLACES = {
    "Screen": "screen",
    "show_progress": "screen",
    "kernels": "remote",
    "log_lines": "remote",
    "remote_job": "remote",
    "remote_jobs": "remote",
    "remote_result": "remote",
    "wheels": "remote",
    "benchmark": "speed",
    "begun": "project",
    "cache": "inventory",
    "whereabouts": "project",
    "calibration": "cockpit",
    "verification": "verified",
    "plots": "verified",
    "plotted": "verified",
    "report": "verified",
    "verified_caption": "verified",
    "data_report": "inventory",
    "diagnosis": "health",
    "notebook_file": "health",
    "sweep": "sweeps",
    "history": "cockpit",
    "public_board": "cockpit",
    "rehearsal": "cockpit",
    "runs_history": "cockpit",
    "score_plot": "timeline",
    "written_competition": "inventory",
}


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(name)
    return getattr(importlib.import_module(f"kaggle_kit.render.{_PLACES.get(name, 'views')}"), name)
