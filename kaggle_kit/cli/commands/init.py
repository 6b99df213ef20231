"""``kk init``."""

from __future__ import annotations

from pathlib import Path

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk init aml-competition                     kk.toml here, for a competition that is known already",
        "kk init https://www.kaggle.com/competitions/titanic",
        "kk init sound-match --from ~/Downloads/sounds    from files alone, without a network",
    ),
)
@click.argument("competition", metavar="SLUG|URL")
@click.option("--from", "source", type=click.Path(path_type=Path), metavar="DIR",
              help="Folder with the competition's files: ask nobody, look at these.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace kk.toml and the description.")
@pass_session
def command(session: Session, competition: str, source: Path | None, force: bool) -> None:
    """Begin a project in this folder.

    Writes kk.toml and the competition's description.

    Title, deadline, limit, metric and files come from Kaggle, columns from the sample submission, the names of the arrays from the npz
    files. Nothing is asked that can be found out; what could not be is said.
    """
    session.show(kaggle_kit.init(competition, source=source, force=force, progress=session.progress), render.begun)
