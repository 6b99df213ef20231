"""``kk data``."""

from __future__ import annotations

from pathlib import Path

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import setting_option, settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk data                                  a table of the training data and the test captions",
        "kk data --figure data.png                a figure beside it",
        "kk data --set data.drop_near_test=0.99   and what that setting leaves out",
        "kk data --set folds.group=images         and what other folds would leak",
    ),
)
@click.option(
    "--figure", type=click.Path(path_type=Path), metavar="FILE",
    help="Draw it into a .png, .pdf or .svg, too; needs matplotlib (the extra plots).",
)  # fmt: skip
@setting_option("-c", "--competition", key="competition.slug", metavar="SLUG")
@settings_options
@pass_session
def command(session: Session, figure: Path | None) -> None:
    """Show what is in the competition's data.

    Counts, captions an image, dimensions, norms, duplicates, captions that train and test share, and the share of test
    captions that look out of domain: further from their nearest training caption than training captions are. And what looks alike among the
    images, and whether the folds of the settings in force would part any of it; kk train refuses such folds.
    """
    result = kaggle_kit.describe_data(session.project(), figure=figure, progress=session.progress)
    session.show(result, render.data_report)
