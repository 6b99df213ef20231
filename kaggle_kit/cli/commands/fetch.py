"""``kk fetch``."""

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
        "kk fetch                             the files that training and submitting need",
        "kk fetch --from ~/Downloads/aml.zip  from what you have already",
        "kk fetch --verify                    are they still what was fetched?",
    ),
)
@click.option("--all", "everything", is_flag=True, help="Every file of the competition, the photos too.")
@click.option("--file", "files", multiple=True, metavar="NAME", help="This file only; may be repeated.")
@click.option(
    "--from", "source", type=click.Path(path_type=Path), help="Take the files from a folder or zip, not from Kaggle."
)
@click.option("--keep-zip", is_flag=True, help="Keep an archive after unpacking it.")
@click.option("--verify", is_flag=True, help="Hash the files again and name those that changed.")
@setting_option("-c", "--competition", key="competition.slug", metavar="SLUG")
@settings_options
@pass_session
def command(
    session: Session, everything: bool, files: tuple[str, ...], source: Path | None, keep_zip: bool, verify: bool
) -> None:
    """Get the competition's files, or find those already here.

    Files that are mounted in a notebook or unpacked in the project are used where they lie. A download that was
    interrupted goes on where it stopped; a second fetch has nothing to do.
    """
    project = session.project(service=source is None and not verify)
    result = kaggle_kit.fetch(
        project, everything=everything, files=files, source=source, keep_zip=keep_zip, verify=verify,
        progress=session.progress,
    )  # fmt: skip
    session.show(result, render.fetched)
