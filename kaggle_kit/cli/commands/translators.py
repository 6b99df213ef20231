"""``kk translators``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk translators              all of them",
        "kk translators ridge        one of them, with its options",
        "kk train --translator ridge --set translator.strength=0.3",
    ),
)
@click.argument("translator", required=False, metavar="[NAME]")
@pass_session
def command(session: Session, translator: str | None) -> None:
    """List translators and losses, or show the one of that name with its options and their defaults.

    Those of the project's own files stand among them.
    """
    session.show(kaggle_kit.catalogue(session.project(), translator), render.catalogue)
