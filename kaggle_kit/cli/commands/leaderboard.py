"""``kk leaderboard``."""

from __future__ import annotations

from typing import Any

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session
from kaggle_kit.errors import UsageError

# as kaggle_kit.archive.SORTS, which is not imported for the help's sake; a test compares them
SORTS = ("newest", "best", "cv", "public", "private", "diff", "rank", "time", "translator", "message")

FUNCTIONS = {
    "submissions": "leaderboard",
    "runs": "run_history",
    "public": "public_board",
    "calibration": "calibration",
}
VIEWS = {"submissions": "history", "runs": "runs_history", "public": "public_board"}
TAKES = {"public": ("--top", "--csv"), "calibration": ()}
"""The options of this command that mean something to a table; the others take all of them."""
NAMES = {"days": "by-day"}


@click.command(
    cls=Described,
    examples=(
        "kk leaderboard                            every submission, newest first",
        "kk leaderboard --sort best --top 5        the best five",
        "kk leaderboard --since 7d --by-day        the last week, a row a day",
        "kk leaderboard --translator 'residual*'   one kind of translator, in ensembles too",
        "kk leaderboard --runs --sort cv           training runs, submitted or not",
        "kk leaderboard --calibration              what a CV is worth, and which runs are worth a submission",
        "kk leaderboard --sync --plot              fetch missing scores, then draw scores over time",
        "kk leaderboard --public --top 20          the competition's own leaderboard",
        "kk leaderboard --csv > history.csv        for a spreadsheet",
    ),
)
@click.option("--sort", type=click.Choice(SORTS), default="newest", show_default=True, help="Order of the rows.")
@click.option("--reverse", is_flag=True, help="The other way round.")
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The first N rows only.")
@click.option("--translator", metavar="NAME", help="Only this translator; * and ? stand for anything.")
@click.option("--since", metavar="TIME", help="Only from a date on, such as 2026-11-01, or back from now: 7d, 12h, 2w.")
@click.option("--by-day", "days", is_flag=True, help="One row a day (UTC, as quotas count), with the best of it.")
@click.option("--runs", is_flag=True, help="Training runs and ensembles instead, submitted or not.")
@click.option("--public", is_flag=True, help="The competition's leaderboard, the own team marked (asks the service).")
@click.option("--calibration", is_flag=True, help="What CVs were worth on the leaderboard, and what to expect of runs.")
@click.option("--plot", is_flag=True, help="Scores over time, drawn in characters.")
@click.option("--sync", is_flag=True, help="Ask the service for missing scores first.")
@click.option("--rehearsals", is_flag=True, help="Submissions to rehearsal servers instead of the real ones.")
@click.option("--csv", is_flag=True, help="All columns as CSV on stdout.")
@settings_options
@pass_session
def command(session: Session, /, sync: bool, csv: bool, **options: Any) -> None:
    """Show the history: CV beside public and private score.

    It comes from submissions_archive/ and models_archive/ alone; only --sync and --public ask the service. --csv and
    --json have every column and every digit; a terminal shows those that fit.
    """
    kind, plot = _kind(options, csv=csv), options.pop("plot")
    project = session.project(service=sync or kind == "public")
    if sync:
        kaggle_kit.sync(project, progress=session.progress)
    result = getattr(kaggle_kit, FUNCTIONS[kind])(project, progress=session.progress, **options)
    if kind == "calibration":
        session.show(result, render.calibration)
    else:
        session.show_table(result, render.score_plot if plot else getattr(render, VIEWS[kind]), csv=csv)


def _kind(options: dict[str, Any], *, csv: bool) -> str:
    """Which table is asked for; only the options that it takes are left.

    Raises:
        UsageError: two tables, or an option that the table does not have.
    """
    chosen = [kind for kind in ("runs", "public", "calibration") if options.pop(kind)] or ["submissions"]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other", "leave one of them out")
    given = [f"--{NAMES.get(name, name)}" for name, value in options.items() if value not in (None, False, "newest")]
    given += ["--csv"] if csv else []
    refused = sorted(flag for flag in given if flag not in TAKES.get(chosen[0], given))
    if refused:
        raise UsageError(f"{', '.join(refused)} cannot be combined with --{chosen[0]}")
    if chosen[0] in TAKES:
        for name in [name for name in options if f"--{name}" not in TAKES[chosen[0]] and name != "plot"]:
            del options[name]
    return chosen[0]
