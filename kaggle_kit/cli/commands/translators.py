"""``kk translators``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=("kk translators", "kk train --translator ridge --set translator.strength=0.3"),
)
@pass_session
def command(session: Session) -> None:
    """List translators and losses with options and defaults.

    Those of the project's own files stand among them.
    """
    session.show(kaggle_kit.catalogue(session.project()), render.catalogue)
