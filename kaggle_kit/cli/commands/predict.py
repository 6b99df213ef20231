"""``kk predict``."""

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
        "kk predict                               submission.csv of the newest run",
        "kk predict 20261123-1415 -o best.csv     of the run whose id begins so",
        "kk predict -o small.csv.zip --digits 4   smaller, zipped",
    ),
)
@click.argument("target", metavar="[RUN|ENSEMBLE]", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("submission.csv"), show_default=True,
              help="File to write; .zip and .gz are compressed.")  # fmt: skip
@setting_option("--digits", key="submit.digits", metavar="N")
@settings_options
@pass_session
def command(session: Session, target: str | None, output: Path) -> None:
    """Write a submission file, without any network.

    It is made of the newest run or the one named and is, byte for byte, the file that kk submit would send.
    """
    result = kaggle_kit.predict(session.project(), target, output, progress=session.progress)
    session.show(result, render.predicted)
