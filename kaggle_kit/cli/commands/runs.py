"""``kk runs``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import settings_options
from kaggle_kit.cli.root import Family
from kaggle_kit.cli.session import Session, pass_session


@click.group(cls=Family, examples=("kk runs list", "kk runs show 20261123-1415"))
def command() -> None:
    """Look at the training runs and ensembles in the archive."""


@command.command("list", examples=("kk runs list --top 10    the ten newest",))
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The newest N only.")
@settings_options
@pass_session
def list_runs(session: Session, top: int | None) -> None:
    """List runs and ensembles, the newest first."""
    session.show(kaggle_kit.list_runs(session.project(), top=top, progress=session.progress), render.runs)


@command.command(
    "show",
    examples=("kk runs show                  the newest", "kk runs show 20261123-1415    by the beginning of its id"),
)
@click.argument("run", required=False)
@settings_options
@pass_session
def show_run(session: Session, run: str | None) -> None:
    """Show one run: its score and where it came from."""
    session.show(kaggle_kit.load_run(session.project(), run), render.run)
