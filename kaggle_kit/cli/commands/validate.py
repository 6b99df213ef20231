"""``kk validate``."""

from __future__ import annotations

from pathlib import Path

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk validate submission.csv            what is wrong with it, row by row",
        "kk validate old.csv.zip --most 100    up to a hundred problems in full",
        "kk validate my.csv --against sample_submission.csv   a file of any other competition",
    ),
)
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--most", type=click.IntRange(min=1), default=20, show_default=True, metavar="N",
              help="Problems shown in full; the rest is counted.")  # fmt: skip
@click.option("--against", type=click.Path(path_type=Path), metavar="SAMPLE",
              help="Learn the format from a sample submission instead: columns, ids, types and ranges.")  # fmt: skip
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@settings_options
@pass_session
def command(session: Session, file: Path, most: int, against: Path | None, strict: bool) -> None:
    """Check a submission file and name every problem.

    The file is a csv, or a zip or gz of one; it is held against the test ids and the dimension of the data, or
    against a sample. Exits with 3 when the service would not score it as it is meant.
    """
    report = kaggle_kit.validate(session.project(), file, most=most, against=against, progress=session.progress)
    session.show(report, render.validation)
    report.raise_for_errors(strict=strict, told=True)
