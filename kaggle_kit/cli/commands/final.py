"""``kk final``."""

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
        "kk final                                propose the two, and record them",
        "kk final --dry-run                      propose only",
        "kk final 20261123-1502 20261122-0910    choose these instead",
    ),
)
@click.argument("submissions", nargs=-1, metavar="[SUBMISSION SUBMISSION]")
@click.option("--dry-run", is_flag=True, help="Propose, and record nothing.")
@settings_options
@pass_session
def command(session: Session, submissions: tuple[str, ...], dry_run: bool) -> None:
    """Choose the two final submissions.

    Proposes them from CV, public score and how much the two differ, says why, and records the choice. Kaggle has no call
    for selecting them: the page where you do that is printed. Named submissions are taken instead; a single one gets a
    proposed second.
    """
    choice = kaggle_kit.final(session.project(), submissions, record=not dry_run, progress=session.progress)
    session.show(choice, render.final_choice)
