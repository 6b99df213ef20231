"""``kk verify``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import setting_option, settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk verify                            the newest finished run",
        "kk verify 20261123-1415 --cases 20   a run by the beginning of its id, more cases",
        "kk verify --caption 17               what was retrieved for one caption, by its row",
        "kk verify --caption camels           or by a part of its text",
    ),
)
@click.argument("run", required=False)
@click.option("--caption", metavar="ROW|TEXT", help="One caption only: its row in the training data, or its text.")
@setting_option("--cases", key="verify.cases", metavar="N")
@setting_option("--seed", key="verify.seed", metavar="N")
@settings_options
@pass_session
def command(session: Session, run: str | None, caption: str | None) -> None:
    """Verify a run on captions whose images it never saw.

    Distances to the true image beside a random other one; the score by length, number, domain and fold of the captions; hubs,
    confusions of look-alikes, the effect of the gallery's size, best and worst cases. RUN may be an ensemble.
    """
    project = session.project()
    if caption is None:
        session.show(kaggle_kit.verify(project, run, progress=session.progress), render.verification)
    else:
        found = kaggle_kit.verify_caption(project, caption, run, progress=session.progress)
        session.show(found, render.verified_caption)
