"""``kk rehearse``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import preset_option, setting_option, settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk rehearse                               with the settings in force",
        "kk rehearse --translator ridge --hide 600 a closed form, 600 hidden images",
    ),
)
@click.option(
    "--hide",
    type=click.IntRange(min=2),
    metavar="N",
    help="Images to hide and to be scored on; a tenth in whole galleries, 600 at most, unless given.",
)
@click.option(
    "--draw",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    metavar="N",
    help="Which images are hidden: draws 0, 1, … are disjoint until every image was hidden once.",
)
@preset_option
@setting_option("--folds", key="folds.count", metavar="N")
@setting_option("--translator", key="translator.name", metavar="NAME", help="Translator; kk translators lists them.")
@setting_option("--loss", key="loss.name", metavar="NAME", help="Loss; kk translators lists them.")
@settings_options
@pass_session
def command(session: Session, hide: int | None, draw: int) -> None:
    """Try the pipeline on hidden images of your own data.

    Hides images, plays the competition on the rest against a Kaggle-compatible server on this machine, and shows the
    score. No submission of the real competition is used, and your credentials are not sent anywhere.
    """
    result = kaggle_kit.rehearse(session.project(training=True), hide=hide, seed=draw, progress=session.progress)
    session.show(result, render.rehearsal)
