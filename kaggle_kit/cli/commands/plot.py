"""``kk plot``."""

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
        "kk plot                                       the figures that there are",
        "kk plot learning-curves                       of the newest finished run, into learning-curves.png",
        "kk plot ranks 20261123-1415 -o ranks.svg      of a run by the beginning of its id",
        "kk plot retrieved --caption camels            one caption and what was retrieved for it",
        "kk plot calibration -o calibration.pdf        of the whole history",
    ),
)
@click.argument("name", required=False)
@click.argument("run", required=False)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE",
    help="Where to: a .png, .svg or .pdf file; NAME.png when not given.",
)  # fmt: skip
@click.option("--caption", metavar="ROW|TEXT", help="With retrieved: the caption, by its row or its text.")
@setting_option("--seed", key="verify.seed", metavar="N")
@settings_options
@pass_session
def command(session: Session, name: str | None, run: str | None, output: Path | None, caption: str | None) -> None:
    """Draw a figure of a run or of the history.

    Without NAME, lists them.

    Needs matplotlib (the extra plots). --json prints the numbers in the figure, too.
    """
    if name is None:
        session.show(kaggle_kit.plots(), render.plots)
        return
    made = kaggle_kit.plot(session.project(), name, run, output, caption=caption, progress=session.progress)
    session.show(made, render.plotted)
