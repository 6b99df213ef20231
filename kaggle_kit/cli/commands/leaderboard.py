"""``kk leaderboard``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk leaderboard                        every submission, newest first",
        "kk leaderboard --sort best --top 5    the best five",
        "kk leaderboard --sync                 fetch scores that are still missing, then show",
        "kk leaderboard --public               the competition's own leaderboard",
        "kk leaderboard --csv > history.csv    for a spreadsheet",
    ),
)
@click.option(
    "--sort", type=click.Choice(["newest", "best"]), default="newest", show_default=True, help="Order of the rows."
)
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The first N rows only.")
@click.option("--public", is_flag=True, help="The competition's leaderboard, the own team marked (asks the service).")
@click.option("--sync", is_flag=True, help="Ask the service for missing scores first.")
@click.option("--rehearsals", is_flag=True, help="Submissions to rehearsal servers instead of the real ones.")
@click.option("--csv", is_flag=True, help="All columns as CSV on stdout.")
@settings_options
@pass_session
def command(
    session: Session, sort: str, top: int | None, public: bool, sync: bool, rehearsals: bool, csv: bool
) -> None:
    """Show the history: CV beside public and private score.

    It comes from submissions_archive/ alone; only --sync and --public ask the service.
    """
    project = session.project(service=sync or public)
    if sync:
        kaggle_kit.sync(project, progress=session.progress)
    if public:
        table = kaggle_kit.public_board(project, top=top, progress=session.progress)
    else:
        table = kaggle_kit.leaderboard(project, sort=sort, top=top, rehearsals=rehearsals, progress=session.progress)
    session.show_table(table, render.public_board if public else render.history, csv=csv)
