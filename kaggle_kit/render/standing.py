"""Where a project stands: when it was begun, and now."""

from __future__ import annotations

from typing import Any

from kaggle_kit.render.text import moment
from kaggle_kit.render.views import View, heading, line, pairs

KINDS = {
    "embeddings": "embeddings to train on; vectors are submitted",
    "plain": "no embeddings: files made elsewhere are held against the sample submission",
}


def begun(result: Any) -> View:
    """What ``kk init`` wrote, what it could not find out, and the next command."""
    yield heading(result.title or result.slug)
    yield pairs(
        {
            "kind": KINDS[result.kind],
            "scored by": result.metric,
            "deadline": moment(result.deadline) if result.deadline else None,
            "a day": f"{result.per_day} submissions" if result.per_day else None,
        }
    )
    yield from (line("wrote", str(path)) for path in result.written)
    yield from (line("note:", note) for note in result.notes)
    yield line("next:", result.command)
