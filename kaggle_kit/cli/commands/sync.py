"""``kk sync``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(cls=Described, examples=("kk sync         fetch the scores that are still missing",))
@settings_options
@pass_session
def command(session: Session) -> None:
    """Bring the archive up to date with the service.

    Fills in scores, finds out what became of a submission that was interrupted, and adopts submissions that were made
    elsewhere, from the web page for instance.
    """
    result = kaggle_kit.sync(session.project(service=True), progress=session.progress)
    session.show(result, render.synced)
