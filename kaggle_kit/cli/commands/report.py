"""``kk report``."""

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
        "kk report                              the whole competition, into report.html",
        "kk report 20261123-1415 -o run.html    a run or a submission by the beginning of its id",
    ),
)
@click.argument("target", required=False, metavar="[RUN|SUBMISSION]")
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Where to; report.html when not given."
)
@setting_option("--cases", key="verify.cases", metavar="N")
@settings_options
@pass_session
def command(session: Session, target: str | None, output: Path | None) -> None:
    """Write one HTML page about a run or the competition.

    Of a run, a submission or the whole competition.

    Tables that sort, figures, configuration, provenance, verification with thumbnails, calibration. The page opens from disk, asks no
    network, follows the reader's light or dark theme, and prints. Needs matplotlib and Jinja2 (the extra plots).
    """
    made = kaggle_kit.report(session.project(), target, output, progress=session.progress)
    session.show(made, render.report)
