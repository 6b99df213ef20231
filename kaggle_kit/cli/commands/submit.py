"""``kk submit``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import Duration, setting_option, settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        'kk submit --message "residual, 5 folds"     the newest run',
        "kk submit 20261123-1415 -m again --keep 1   only if one more is left for tonight",
        "kk submit best.csv --dry-run                everything but the upload",
        "kk submit -m nightly --no-wait              do not wait for the score; kk sync fetches it",
    ),
)
@click.argument("target", metavar="[RUN|ENSEMBLE|FILE]", required=False)
@click.option("-m", "--message", default="", metavar="TEXT", help="What is new about it; stands in the history.")
@click.option("--wait/--no-wait", default=True, show_default=True, help="Wait for the score.")
@click.option("--dry-run", is_flag=True, help="Build, validate and ask the service, but do not upload.")
@click.option("--force", is_flag=True, help="Send it even if the same vectors were sent before.")
@setting_option("--keep", key="submit.keep", metavar="N")
@setting_option(
    "--wait-for",
    key="submit.wait_s",
    metavar="TIME",
    type=Duration(),
    help="How long to wait for the score, such as 10m.",
)
@setting_option("--digits", key="submit.digits", metavar="N")
@settings_options
@pass_session
def command(session: Session, target: str | None, message: str, wait: bool, dry_run: bool, force: bool) -> None:
    """Submit the newest run, or a run, ensemble or file.

    Predicts, writes and validates the file, checks that you are entered and that submissions are left today, uploads,
    waits for the score, and files all of it in submissions_archive/. The same vectors are never sent twice.
    """
    record = kaggle_kit.submit(
        session.project(service=True), target, message=message, wait=wait, dry_run=dry_run, force=force,
        progress=session.progress,
    )  # fmt: skip
    session.show(record, render.submission)
