"""``kk ensemble``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import Weights, Words, settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk ensemble 20261123-1415 20261123-1502                       both alike",
        "kk ensemble 20261123-1415 20261123-1502 --weights 0.7,0.3     weighted as given",
        "kk ensemble 20261123-1415 20261123-1502 --weights optimised   chosen out of fold",
        "kk ensemble --from-archive --top 20 --weights optimised       the best of all runs that fit together",
    ),
)
@click.argument("runs", nargs=-1, metavar="[RUN RUN...]")
@click.option("--weights", type=Weights(), default="equal", show_default=True, metavar="equal|optimised|W,W...",
              help="How much each run counts.")  # fmt: skip
@click.option(
    "--from-archive", is_flag=True, help="Take runs from the archive, the best ones that share data and folds."
)
@click.option("--top", type=click.IntRange(min=2), default=20, show_default=True, metavar="N",
              help="How many runs --from-archive takes at most.")  # fmt: skip
@click.option("--explain", is_flag=True, help="Show what each run scores alone and what it adds.")
@click.option("--name", type=Words(), metavar="TEXT", help="A name for the ensemble.")
@settings_options
@pass_session
def command(
    session: Session, runs: tuple[str, ...], weights: str | list[float], from_archive: bool, top: int, explain: bool,
    name: str | None,
) -> None:  # fmt: skip
    """Average several runs: unit vectors, weighted.

    The ensemble is filed like a run, scored out of fold, and submitted like one: kk submit sends the newest.
    """
    result = kaggle_kit.make_ensemble(
        session.project(), runs, weights=weights, from_archive=top if from_archive else None, explain=explain, name=name,
        progress=session.progress,
    )  # fmt: skip
    session.show(result, render.run)
