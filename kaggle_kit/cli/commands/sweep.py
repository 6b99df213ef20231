"""``kk sweep``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import Duration, Words, config_argument, set_option
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk sweep lr.toml --trials 50 --timeout 6h   try what [sweep.space] of lr.toml says",
        "kk sweep lr.toml --trials 80                go on, to 80 trials in all; several processes may share the work",
        "kk sweep lr.toml --show                     the trials so far, and which settings matter",
        "kk sweep lr.toml --set folds.count=3 --name quick",
    ),
)
@config_argument
@click.option("--trials", type=click.IntRange(min=1), default=50, show_default=True, metavar="N",
              help="Finished trials wanted in all, those of other processes and of earlier calls included.")  # fmt: skip
@click.option("--timeout", type=Duration(), metavar="TIME",
              help="End after this long, such as 90s, 45m or 6h; the trial in progress is kept.")  # fmt: skip
@click.option("--name", type=Words(), metavar="TEXT", help="The sweep's name; that of CONFIG when left out.")
@click.option("--show", is_flag=True, help="Show the trials so far, and try nothing.")
@set_option
@pass_session
def command(session: Session, trials: int, timeout: float | None, name: str | None, show: bool) -> None:
    """Search for better hyper-parameters with Optuna.

    CONFIG is a file of settings with a table [sweep.space] that says what is tried (docs/sweep.md). Each trial is a run in
    models_archive/; one that falls behind is given up after an epoch or a fold. Run it again to go on, or at the same time in several
    processes or on several machines that share the folder. The best values end up in models_archive/sweeps/NAME/best.toml.
    """
    project = session.project(training=True)
    if show:
        result = kaggle_kit.load_sweep(project, name)
    else:
        result = kaggle_kit.sweep(project, name=name, trials=trials, timeout_s=timeout, progress=session.progress)
    session.show(result, render.sweep)
