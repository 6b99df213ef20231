"""``kk wheels``."""

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
        "kk wheels                         ours and the small ones that an image may lack, as a private data set",
        "kk wheels --have image.json       only what the image lacks: pip list --format json > image.json in a notebook",
        "kk wheels --no-push --folder w    only build them",
    ),
)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("wheels"), show_default=True,
              help="Where the wheels go.")  # fmt: skip
@click.option("--have", type=click.Path(path_type=Path), metavar="FILE",
              help="What the image has: the output of pip list --format json there.")  # fmt: skip
@click.option("--push/--no-push", default=True, show_default=True, help="Push them as a private data set.")
@setting_option("--dataset", key="wheels.dataset", metavar="SLUG", help="Name of the data set.")
@setting_option("--python", key="wheels.python", metavar="VERSION")
@settings_options
@pass_session
def command(session: Session, folder: Path, have: Path | None, push: bool) -> None:
    """Build what a notebook without internet installs from.

    Our wheel and the small packages that the image lacks (never torch, numpy, pandas or scikit-learn), for the image's Python, as a private
    data set: made, or given a new version, and waited for until it can be attached.
    """
    project = session.project(service=push)
    made = kaggle_kit.make_wheels(project, folder, have=have, push=push, progress=session.progress)
    session.show(made, render.wheels)
