"""``kk train``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import Words, preset_option, setting_option, settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session
from kaggle_kit.settings import OF_THE_MOMENT

_NEWEST = ""
ON_RESUME = tuple(f"train.{name}" for name in OF_THE_MOMENT)


@click.command(
    cls=Described,
    examples=(
        "kk train --folds 5                    the default translator on five folds",
        "kk train --preset fast                a good score in two minutes on two cores",
        "kk train --folds 1 --holdout 0.1      one hold-out of a tenth of the images",
        "kk train --config residual            a shipped configuration (see configs/)",
        "kk train --translator mlp --set translator.hidden=2048",
        "kk train --time-budget 11h30m         stop in time for a notebook's limit, with everything saved",
        "kk train --workers 2 --set train.threads=1       two processes, each at a fold of its own; so is each GPU by default",
        "kk train --nnodes 2 --rdzv 10.0.0.5:29400        two machines: on the second, add --node-rank 1",
        "kk train --resume                     go on with the run that was stopped",
    ),
)
@click.option("--name", type=Words(), metavar="TEXT", help="A name for the run; the translator's when left out.")
@click.option(
    "--resume", is_flag=False, flag_value=_NEWEST, metavar="[RUN]",
    help="Go on with a run that was stopped, the newest one when none is named; its own settings are in force.",
)  # fmt: skip
@preset_option
@setting_option("--folds", key="folds.count", metavar="N")
@setting_option("--holdout", key="folds.holdout", metavar="SHARE")
@setting_option("--translator", key="translator.name", metavar="NAME", help="Translator; kk translators lists them.")
@setting_option("--loss", key="loss.name", metavar="NAME", help="Loss; kk translators lists them.")
@setting_option("--epochs", key="train.epochs", metavar="N")
@setting_option("--batch-size", key="train.batch_size", metavar="N")
@setting_option("--lr", key="train.learning_rate", metavar="RATE")
@setting_option("--seed", key="train.seed", metavar="N")
@setting_option("--device", key="train.device", metavar="NAME", help="Where to compute: auto, cuda, mps or cpu.")
@setting_option("--precision", key="train.precision", metavar="NAME", help="Arithmetic: auto, fp32, bf16 or fp16.")
@setting_option(
    "--parallel", key="train.parallel", metavar="NAME",
    help="What several devices share: folds, each one takes whole ones; or batch, all train one fold.",
)  # fmt: skip
@setting_option(
    "--workers", key="train.workers", metavar="N", help="Processes on this machine; one for each CUDA device by itself."
)
@setting_option("--nnodes", key="cluster.nnodes", metavar="N", help="Machines at this run, with one project folder.")
@setting_option("--node-rank", key="cluster.node_rank", metavar="N", help="Number of this machine; 0 leads.")
@setting_option(
    "--rdzv", key="cluster.rdzv", metavar="HOST:PORT", help="Where the machines meet: the first one's address."
)
@setting_option(
    "--time-budget",
    key="train.time_budget",
    metavar="DURATION",
    help="Time for this command (45m, 11h30m); it saves its state before that is over, and exits with 75.",
)
@settings_options
@pass_session
def command(session: Session, name: str | None, resume: str | None) -> None:
    """Train a translator on folds and score it out of fold.

    Folds never share an image. The run, with its checkpoints, its settings and the score to expect, is filed in models_archive/. Ctrl-C,
    SIGTERM and the end of a --time-budget stop it so that --resume can go on. Defaults hold unless the translator's recipe says
    otherwise; kk config show --origin tells.
    """
    if resume is None:
        project = session.project(training=True)
        run = kaggle_kit.train(project, name=name, started=session.started, progress=session.progress)
    else:
        session.refuse_settings("--resume: a run goes on with its own settings", but=("paths", "cluster", *ON_RESUME))
        project = session.project()
        run = kaggle_kit.resume(project, resume or None, started=session.started, progress=session.progress)
    session.show(run, render.run)
