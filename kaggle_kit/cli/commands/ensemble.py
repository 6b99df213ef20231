"""``kk ensemble``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import Weights, settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk ensemble 20261123-1415 20261123-1502                       both alike",
        "kk ensemble 20261123-1415 20261123-1502 --weights 0.7,0.3     weighted as given",
        "kk ensemble 20261123-1415 20261123-1502 --weights optimised   chosen out of fold",
    ),
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN RUN...")
@click.option("--weights", type=Weights(), default="equal", show_default=True, metavar="equal|optimised|W,W...",
              help="How much each run counts.")  # fmt: skip
@click.option("--name", metavar="TEXT", help="A name for the ensemble.")
@settings_options
@pass_session
def command(session: Session, runs: tuple[str, ...], weights: str | list[float], name: str | None) -> None:
    """Average several runs: unit vectors, weighted.

    The ensemble is filed like a run, scored out of fold, and submitted like one: kk submit sends the newest.
    """
    result = kaggle_kit.make_ensemble(session.project(), runs, weights=weights, name=name, progress=session.progress)
    session.show(result, render.run)
