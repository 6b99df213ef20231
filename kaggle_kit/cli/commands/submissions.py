"""``kk submissions``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import settings_options
from kaggle_kit.cli.root import Family
from kaggle_kit.cli.session import Session, pass_session


@click.group(cls=Family, examples=("kk submissions list", "kk submissions show 20261123-1502"))
def command() -> None:
    """Look at the submissions in the archive."""


@command.command("list", examples=("kk submissions list --top 10    the ten newest",))
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The newest N only.")
@settings_options
@pass_session
def list_submissions(session: Session, top: int | None) -> None:
    """List every submission, rehearsals too."""
    session.show(kaggle_kit.list_submissions(session.project(), top=top, progress=session.progress), render.submissions)


@command.command(
    "show",
    examples=(
        "kk submissions show                  the newest",
        "kk submissions show 20261123-1502    by the beginning of its id",
    ),
)
@click.argument("submission", required=False)
@settings_options
@pass_session
def show_submission(session: Session, submission: str | None) -> None:
    """Show one submission: its score and what it was made of."""
    session.show(kaggle_kit.load_submission(session.project(), submission), render.submission)
