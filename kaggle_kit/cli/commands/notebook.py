"""``kk notebook``."""

from __future__ import annotations

from pathlib import Path

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import Words, preset_option, setting_option, settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk notebook                                     kk.ipynb, with the project's settings",
        "kk notebook --preset fast -o fast.ipynb         another recipe",
        "kk notebook --offline -o offline.ipynb          for a notebook without internet, as code competitions ask for",
        "kk notebook --config residual -m residual       a shipped configuration, and the submission's message",
    ),
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), default=Path("kk.ipynb"), show_default=True, help="Where to write."
)  # fmt: skip
@click.option("--offline", is_flag=True, help="Install from an attached data set of wheels, use no network.")
@click.option(
    "-m",
    "--message",
    type=Words(),
    metavar="TEXT",
    help="What is new about the submission; made from the settings when left out.",
)
@click.option("--force", is_flag=True, help="Replace a file that was not written by this command.")
@preset_option
@setting_option("--folds", key="folds.count", metavar="N")
@setting_option("--translator", key="translator.name", metavar="NAME", help="Translator; kk translators lists them.")
@setting_option("-c", "--competition", key="competition.slug", metavar="SLUG")
@settings_options
@pass_session
def command(session: Session, output: Path, offline: bool, message: str | None, force: bool) -> None:
    """Write a notebook that is ready for Kaggle.

    It installs from the data set that kk wheels makes, looks at what is there, trains within the session's limit, verifies, predicts,
    submits and shows the history, with the settings in force here. For training from here without opening a page: kk remote train.
    """
    project = session.project(training=True)
    made = kaggle_kit.make_notebook(project, output, offline=offline, message=message, force=force)
    session.show(made, render.notebook_file)
