"""``kk doctor``."""

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
        "kk doctor             is everything here that a submission needs?",
        "kk doctor --offline   without asking Kaggle whether it accepts the credentials",
        "kk doctor --json      for a bug report: no secret is in it",
    ),
)
@click.option("--offline", is_flag=True, help="Ask nobody over the network.")
@settings_options
@pass_session
def command(session: Session, offline: bool) -> int:
    """Look for what would keep a submission from working.

    At the machine, the packages, the project, the account and the archives.

    Each line is good, a warning or bad, with the remedy; a check that fails hides none of the others. Exits with 0 when nothing is bad,
    else with the code of the first bad line's family.
    """
    diagnosis = kaggle_kit.doctor(
        config=session.config, overrides=session.overrides, origins=session.origins, offline=offline,
        progress=session.progress,
    )  # fmt: skip
    session.show(diagnosis, render.diagnosis)
    return diagnosis.exit_code
