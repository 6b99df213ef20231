"""``kk submissions``."""

from __future__ import annotations

from pathlib import Path

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import removing_options, settings_options, sparing_options
from kaggle_kit.cli.pruning import remove_planned
from kaggle_kit.cli.root import Family
from kaggle_kit.cli.session import Session, pass_session

PRUNABLE = ("files", "vectors", "checkpoints", "leftovers")


@click.group(
    cls=Family, default="list", examples=("kk submissions        lists them", "kk submissions show 20261123-1502")
)
def command() -> None:
    """Look at the submissions in the archive, and look after it."""


@command.command("list", examples=("kk submissions list --top 10    the ten newest",))
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The newest N only.")
@settings_options
@pass_session
def list_submissions(session: Session, top: int | None) -> None:
    """List every submission, rehearsals too."""
    session.show(kaggle_kit.list_submissions(session.project(), top=top, progress=session.progress), render.submissions)


@command.command(
    "show",
    examples=(
        "kk submissions show                  the newest",
        "kk submissions show 20261123-1502    by the beginning of its id",
    ),
)
@click.argument("submission", required=False)
@settings_options
@pass_session
def show_submission(session: Session, submission: str | None) -> None:
    """Show one submission: its score and what it was made of.

    Follows the chain from the score to file, ensemble, checkpoints, folds and data, and hashes anew whatever of it is
    still on disk: same, changed or gone.
    """
    session.show(kaggle_kit.submission_chain(session.project(), submission), render.submission_chain)


@command.command(
    "rebuild",
    examples=(
        "kk submissions rebuild 20261123-1502                where it was",
        "kk submissions rebuild 20261123-1502 -o again.csv   elsewhere",
    ),
)
@click.argument("submission", required=False)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="File to write; where it was when left out.")
@settings_options
@pass_session
def rebuild(session: Session, submission: str | None, output: Path | None) -> None:
    """Write a submission's file again from its vectors.

    The very same bytes as the file that was sent, or nothing.
    """
    session.show(kaggle_kit.rebuild_submission(session.project(), submission, output), render.rebuilt)


@command.command("reindex", examples=("kk submissions reindex",))
@settings_options
@pass_session
def reindex(session: Session) -> None:
    """Make the index anew from the records.

    Records that cannot be read are named and left where they are.
    """
    session.show(kaggle_kit.reindex(session.project(), progress=session.progress), render.reindexed)


@command.command(
    "prune",
    examples=(
        "kk submissions prune --dry-run                                what would go, and how much",
        "kk submissions prune --keep-newest 20 --keep-best 5 --yes     old files; they can be rebuilt",
        "kk submissions prune --what checkpoints --older-than 30       checkpoints that no kept submission uses",
    ),
)
@click.option("--what", type=click.Choice(PRUNABLE), multiple=True, default=("files", "leftovers"), show_default=True,
              help="What may go; may be repeated.")  # fmt: skip
@sparing_options(
    newest="Leave the newest N submissions and runs alone.",
    best="Leave the best N by public score, and runs by CV, alone.",
    old="Only what is at least that old.",
)
@removing_options
@settings_options
@pass_session
def prune(
    session: Session,
    what: tuple[str, ...],
    keep_newest: int,
    keep_best: int,
    older_than: float,
    dry_run: bool,
    yes: bool,
) -> None:
    """Drop files, vectors or checkpoints of old work, keep every score.

    Shows what would go and how much that is, then asks. Records and scores always stay.
    """
    project = session.project()
    rule = kaggle_kit.PruneRule(what, keep_newest, keep_best, older_than)
    remove_planned(session, project, kaggle_kit.plan_prune(project, rule), dry_run=dry_run, yes=yes)
