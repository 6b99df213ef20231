"""``kk compare``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import Shares, settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk compare 20261123-1415 20261123-1502     two runs, image by image",
        "kk compare residual fast default           shipped configurations, trained where that was not done yet",
        "kk compare residual fast --csv             for a spreadsheet",
        "kk compare residual fast --set folds.by=text_clusters   how both do out of domain",
        "kk compare fast --shares .1,.25,.5,1       the score over the share of the images trained on",
    ),
)
@click.argument("targets", nargs=-1, required=True, metavar="RUN|CONFIG...")
@click.option("--shares", type=Shares(), metavar="S,S...", help="Make the learning curve of one run or configuration.")
@click.option("--csv", is_flag=True, help="All columns as CSV on stdout.")
@settings_options
@pass_session
def command(session: Session, targets: tuple[str, ...], shares: list[float] | None, csv: bool) -> None:
    """Compare runs or configurations on the same folds.

    Differences to the first one are paired image by image, with their standard error and 95 % bootstrap interval; beside them stand
    the costs: seconds of training, parameters, megabytes, milliseconds a query. Settings given here hold for every configuration.

    With --shares, one run or configuration is trained on those shares of the images of each training part, and on all of them; it is
    validated on the same images each time, and the differences are to all of them.
    """
    if shares is None:
        table, view = kaggle_kit.compare(session.project(), targets, progress=session.progress), render.comparison
    elif len(targets) > 1:
        raise click.UsageError(f"--shares makes the curve of one run or configuration, not of {len(targets)}")
    else:
        table = kaggle_kit.learning_curve(session.project(), targets[0], shares, progress=session.progress)
        view = render.curve
    session.show_table(table, view, csv=csv)
