"""What ``kk submissions prune`` and ``kk runs prune`` share: the plan is shown, then somebody has to agree."""

from __future__ import annotations

from typing import Any

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.session import Session
from kaggle_kit.errors import UsageError


def remove_planned(session: Session, project: Any, plan: Any, *, dry_run: bool, yes: bool) -> None:
    """Show what would go, ask unless ``yes``, remove it unless ``dry_run``, and show what was won back.

    Raises:
        UsageError: nobody can be asked.
    """
    if not session.json:
        session.show(plan, render.prune_plan)
    removed = kaggle_kit.prune(project, plan) if plan.items and not dry_run and _wanted(session, yes=yes) else 0
    if session.json:
        session.show({"items": plan.items, "notes": plan.notes, "size": plan.size, "removed": removed}, render.pruned)
    elif removed:
        session.show(removed, render.pruned)


def _wanted(session: Session, *, yes: bool) -> bool:
    if yes:
        return True
    answer = session.ask("Remove them?")
    if answer is None:
        raise UsageError("nothing was removed: there is no terminal to ask on", "--yes removes without asking")
    return answer
