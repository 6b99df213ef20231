"""``kk remote``."""

from __future__ import annotations

from typing import Any

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import Duration, Words, preset_option, setting_option, settings_options, submitting_options
from kaggle_kit.cli.root import Family
from kaggle_kit.cli.session import Session, pass_session
from kaggle_kit.cli.submitting import question

_NEWEST = ""


@click.group(
    cls=Family,
    default="list",
    examples=("kk remote train --config residual --folds 5 --gpu t4x2", "kk remote logs -f", "kk remote pull"),
)
def command() -> None:
    """Train in Kaggle's notebooks, driven from this machine.

    The code and the settings in force are packed into a private script, pushed with the competition attached, followed, and what it wrote
    is pulled and filed in models_archive/ as if it had been trained here.
    """


@command.command(
    "train",
    examples=(
        "kk remote train --config residual --folds 5 --gpu t4x2     push, follow, pull, file the run",
        "kk remote train --preset fast --no-wait                    only start it; kk remote pull fetches it",
        "kk remote train --until-done --session 9h                  as many sessions as it takes",
        "kk remote train --resume                                   go on with what the time limit stopped",
        "kk remote train --gpu cpu --no-internet --wheels ann/kk-wheels",
    ),
)
@click.option(
    "--name", type=Words(), metavar="TEXT", help="A name for the run and its notebook; the translator's when left out."
)
@click.option(
    "--resume", is_flag=False, flag_value=_NEWEST, metavar="[RUN]",
    help="Go on with a run that its time limit stopped, from its own output; the newest when none is named.",
)  # fmt: skip
@click.option("--wait/--no-wait", default=True, show_default=True, help="Follow it to its end and pull what it wrote.")
@click.option("--until-done", is_flag=True, help="Push again whenever the time limit stopped it.")
@setting_option("--gpu", key="remote.gpu", metavar="NAME")
@setting_option("--session", key="remote.session_s", metavar="TIME", type=Duration())
@setting_option("--internet/--no-internet", key="remote.internet", metavar="", default=None)
@setting_option("--wheels", key="remote.wheels", metavar="OWNER/SLUG")
@preset_option
@setting_option("--folds", key="folds.count", metavar="N")
@setting_option("--translator", key="translator.name", metavar="NAME", help="Translator; kk translators lists them.")
@setting_option("--epochs", key="train.epochs", metavar="N")
@setting_option("--seed", key="train.seed", metavar="N")
@settings_options
@pass_session
def train(session: Session, /, resume: str | None, **options: Any) -> None:
    """Train in a private notebook on Kaggle and file the run here.

    Says how many GPU hours are left before anything is pushed. Secrets are refused, the size is bounded, the git commit is recorded. Ctrl-C
    leaves the notebook running; kk remote pull fetches it later.
    """
    if resume is not None:
        session.refuse_settings("--resume: a run goes on with its own settings", but=("remote", "paths", "service"))
    project = session.project(training=resume is None, service=True)
    result = kaggle_kit.remote_train(project, resume=resume, progress=session.progress, **options)
    session.show(result, render.remote_result)


@command.command("status", examples=("kk remote status", "kk remote status kk-residual-mlp-20261123"))
@click.argument("job", required=False)
@settings_options
@pass_session
def status(session: Session, job: str | None) -> None:
    """Ask how far a remote training got; the newest when none is named."""
    project = session.project(service=True)
    session.show(kaggle_kit.remote_status(project, job, progress=session.progress), render.remote_job)


@command.command(
    "logs",
    examples=(
        "kk remote logs       what the newest has printed",
        "kk remote logs -f    and what it prints from now on",
    ),
)
@click.argument("job", required=False)
@click.option("-f", "--follow", "follow_it", is_flag=True, help="Go on until its session has ended.")
@settings_options
@pass_session
def logs(session: Session, job: str | None, follow_it: bool) -> None:
    """Show the log of a remote training."""
    project = session.project(service=True)
    lines = kaggle_kit.remote_logs(project, job, follow_it=follow_it, progress=session.progress)
    session.show([*lines] if session.json else lines, render.log_lines)


@command.command(
    "pull",
    examples=(
        "kk remote pull                        the newest",
        "kk remote pull ann/kk-residual-mlp    one that was pushed from another machine",
    ),
)
@click.argument("job", required=False)
@settings_options
@pass_session
def pull(session: Session, job: str | None) -> None:
    """Fetch what a remote training wrote and file its run.

    Every file is compared with the hash that the notebook gave it. What was fetched before is not fetched again.
    """
    project = session.project(service=True)
    session.show(kaggle_kit.remote_pull(project, job, progress=session.progress), render.remote_result)


@command.command("list", examples=("kk remote list", "kk remote list --all    every notebook of the account"))
@click.option("--all", "everything", is_flag=True, help="Every notebook of the account, not only those started here.")
@settings_options
@pass_session
def list_remote(session: Session, everything: bool) -> None:
    """List remote trainings, the newest first."""
    project = session.project(service=True)
    if everything:
        session.show(kaggle_kit.list_kernels(project, progress=session.progress), render.kernels)
    else:
        session.show(kaggle_kit.remote_list(project, progress=session.progress), render.remote_jobs)


@command.command("cancel", examples=("kk remote cancel",))
@click.argument("job", required=False)
@settings_options
@pass_session
def cancel(session: Session, job: str | None) -> None:
    """Stop a remote training where Kaggle's API can; else say on which page."""
    project = session.project(service=True)
    session.show(kaggle_kit.remote_cancel(project, job, progress=session.progress), render.remote_job)


@command.command(
    "submit",
    examples=(
        'kk remote submit -m "residual, on two T4s"       the newest, once it has ended',
        "kk remote submit kk-residual-mlp -m again --dry-run",
    ),
)
@click.argument("job", required=False)
@submitting_options(
    dry_run="Ask the service whether it could be submitted, and submit nothing.",
    confirm="Ask at the terminal before anything is submitted.",
    force="Submit it even if the same version was submitted before.",
)
@settings_options
@pass_session
def submit(session: Session, /, job: str | None, confirm: bool, **options: Any) -> None:
    """Submit the submission.csv of a remote training, as code competitions ask for.

    Waits for its end, pulls it, submits that version's file, waits for the score, and files all of it with the run's CV.
    """
    options["confirm"] = question(session, "Submit {id}?") if confirm else None
    project = session.project(service=True)
    session.show(kaggle_kit.remote_submit(project, job, progress=session.progress, **options), render.submission)
