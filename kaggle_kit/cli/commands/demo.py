"""``kk demo``."""

from __future__ import annotations

from pathlib import Path

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(cls=Described, examples=("kk demo                   in ./demo", "kk demo --folder /tmp/kk"))
@click.option("--folder", type=click.Path(path_type=Path), default=Path("demo"), show_default=True,
              help="Folder for the demo's project; nothing outside it is touched.")  # fmt: skip
@pass_session
def command(session: Session, folder: Path) -> None:
    """Play the whole loop without a Kaggle account.

    On a small generated competition: fetches from, trains for, submits to and is scored by a Kaggle-compatible server on this machine.
    """
    result = kaggle_kit.demo(folder, progress=session.progress)
    session.show(result, render.rehearsal)
