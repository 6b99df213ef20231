"""``kk submit``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import Duration, setting_option, settings_options, submitting_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session
from kaggle_kit.cli.submitting import question
from kaggle_kit.errors import UsageError

FILE_SUFFIXES = (".csv", ".zip", ".gz")


@click.command(
    cls=Described,
    examples=(
        'kk submit --message "default, 5 folds"     the newest run',
        "kk submit 20261123-1415 -m again --keep 1   only if one more is left for tonight",
        "kk submit best.csv --dry-run                everything but the upload",
        "kk submit -m nightly --no-wait              do not wait for the score; kk sync fetches it",
        "kk submit -m small --digits 4 --zip         a smaller file; what that costs is measured and shown",
        "kk submit -m code --kernel ann/my-notebook --kernel-version 3 --file submission.csv",
    ),
)
@click.argument("target", metavar="[RUN|ENSEMBLE|FILE]", required=False)
@submitting_options(
    dry_run="Build, validate and ask the service, but do not upload.",
    confirm="Ask at the terminal before anything is sent.",
    force="Send it even if the same vectors were sent before.",
)
@setting_option("--keep", key="submit.keep", metavar="N")
@setting_option(
    "--wait-for",
    key="submit.wait_s",
    metavar="TIME",
    type=Duration(),
    help="How long to wait for the score, such as 10m.",
)
@setting_option("--digits", key="submit.digits", metavar="N")
@setting_option("--zip/--no-zip", key="submit.zip", metavar="", default=None)
@click.option("--kernel", metavar="OWNER/SLUG", help="Submit a notebook's output: the notebook (code competitions).")
@click.option("--kernel-version", type=click.IntRange(min=1), metavar="N", help="Its version.")
@click.option("--file", "file_name", default="submission.csv", show_default=True, metavar="NAME",
              help="The version's output file.")  # fmt: skip
@settings_options
@pass_session
def command(
    session: Session,
    /,
    target: str | None,
    kernel: str | None,
    kernel_version: int | None,
    file_name: str,
    confirm: bool,
    **options: Any,
) -> None:
    """Submit the newest run, or a run, ensemble or file.

    Predicts, writes and validates the file, checks that you are entered and that submissions are left today, uploads,
    waits for the score, and files all of it in submissions_archive/. The same vectors are never sent twice.
    """
    if (kernel is None) != (kernel_version is None) or (kernel and target):
        raise UsageError("a notebook's output needs --kernel and --kernel-version, and no other target")
    if kernel is not None or (target and Path(target).suffix.lower() in FILE_SUFFIXES):
        session.refuse_settings("a file that is sent as it is", only=("submit.digits", "submit.zip"))
    asked = question(session, "Submit {id} to {competition}?") if confirm else None
    options |= {"confirm": asked, "progress": session.progress}
    project = session.project(service=True)
    if kernel is not None and kernel_version is not None:
        record = kaggle_kit.submit_notebook(project, kernel, kernel_version, file_name, **options)
    else:
        record = kaggle_kit.submit(project, target, **options)
    session.show(record, render.submission)
