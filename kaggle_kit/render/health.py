"""How the findings of ``kk doctor``, and a notebook that was written, look in a terminal."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from kaggle_kit.render.tables import Column, Grid
from kaggle_kit.render.text import counted
from kaggle_kit.render.views import View, line

_STYLES = {"good": "", "warning": "yellow", "bad": "bold red"}


def diagnosis(result: Any) -> View:
    """One line a finding, the remedy below it, and what it comes to."""
    rows = []
    for finding in result.findings:
        rows.append({"status": finding.status, "check": finding.check, "text": finding.text, "of": finding.status})
        if finding.remedy:
            rows.append({"status": "", "check": "", "text": f"-> {finding.remedy}", "of": finding.status})
    columns = (Column("status", ""), Column("check", "", least=8), Column("text", "", least=30))
    yield Grid(columns, rows, style=lambda row: _STYLES[row["of"]], wrap=True, heading=False)
    yield Text(_summary(result), style=_STYLES[result.status])


def _summary(result: Any) -> str:
    counts = {status: sum(one.status == status for one in result.findings) for status in ("bad", "warning")}
    parts = [counted(counts["bad"], "thing is", "things are") + " bad"] if counts["bad"] else ["nothing is bad"]
    if counts["warning"]:
        parts.append(counted(counts["warning"], "warning"))
    return ", ".join(parts)


def notebook_file(made: Any) -> View:
    """A notebook that was written, and what to do with it."""
    yield line(f"{made.path}: {made.cells} cells for {made.competition}{', without internet' if made.offline else ''}")
    yield from (line(f"  {number}. {step}") for number, step in enumerate(made.next_steps, 1))
