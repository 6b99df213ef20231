"""``kk compare``."""

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
        "kk compare 20261123-1415 20261123-1502     two runs, image by image",
        "kk compare residual fast default           shipped configurations, trained where that was not done yet",
        "kk compare residual fast --csv             for a spreadsheet",
    ),
)
@click.argument("targets", nargs=-1, required=True, metavar="RUN|CONFIG...")
@click.option("--csv", is_flag=True, help="All columns as CSV on stdout.")
@settings_options
@pass_session
def command(session: Session, targets: tuple[str, ...], csv: bool) -> None:
    """Compare runs or configurations on the same folds.

    Differences to the first one are paired image by image, with their standard error and 95 % bootstrap interval; beside them stand
    the costs: seconds of training, parameters, megabytes, milliseconds a query.
    """
    table = kaggle_kit.compare(session.project(), targets, progress=session.progress)
    session.show_table(table, render.comparison, csv=csv)
