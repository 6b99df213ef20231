"""A project: how it was begun, and where it stands."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from kaggle_kit.render.text import clean, counted, moment, number
from kaggle_kit.render.views import View, heading, line, pairs, score

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


def whereabouts(stand: Any) -> View:
    """Where a project stands, and the next command."""
    run, sent = stand.last_run, stand.last_submission
    yield heading(stand.title or stand.competition)
    yield pairs(
        {
            "data": f"{', '.join(stand.missing)} not here yet" if stand.missing else "all here",
            "last run": _run(run) if run else "none yet",
            "best CV": number(stand.best_cv) if stand.runs > 1 else None,
            "last submission": _submission(sent) if sent else "none yet",
            "best score": number(stand.best_public, 5) if stand.submissions > 1 else None,
            "today": _today(stand),
        }
    )
    yield line()
    yield Text.assemble("next: ", (clean(stand.next_command), "bold"))
    yield Text(clean(f"      {stand.why}"), style="dim")
    yield Text("      kk --help lists all commands", style="dim")


def _run(run: Any) -> str:
    figure = score(run.cv, run.cv_error)
    return f"{run.id}: {run.translator}, {f'CV {figure}' if figure and run.state == 'done' else run.state}"


def _submission(sent: Any) -> str:
    figure = number(sent.public_score, 5)
    message = f" ({sent.message})" if sent.message else ""
    return f"{sent.id}{message}: {f'public score {figure}' if figure else sent.state}"


def _today(stand: Any) -> str:
    made = f"{counted(stand.sent_today, 'submission')} made"
    return made if stand.left_today is None else f"{stand.left_today} submissions left, {made}"
