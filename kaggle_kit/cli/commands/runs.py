"""``kk runs``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import removing_options, settings_options, sparing_options
from kaggle_kit.cli.pruning import remove_planned
from kaggle_kit.cli.root import Family
from kaggle_kit.cli.session import Session, pass_session


@click.group(cls=Family, default="list", examples=("kk runs        lists them", "kk runs show 20261123-1415"))
def command() -> None:
    """Look at the runs in the archive, and look after it."""


@command.command("list", examples=("kk runs list --top 10    the ten newest",))
@click.option("--top", type=click.IntRange(min=1), metavar="N", help="The newest N only.")
@settings_options
@pass_session
def list_runs(session: Session, top: int | None) -> None:
    """List runs and ensembles, the newest first."""
    session.show(kaggle_kit.list_runs(session.project(), top=top, progress=session.progress), render.runs)


@command.command(
    "show",
    examples=("kk runs show                  the newest", "kk runs show 20261123-1415    by the beginning of its id"),
)
@click.argument("run", required=False)
@settings_options
@pass_session
def show_run(session: Session, run: str | None) -> None:
    """Show one run: its score and where it came from."""
    session.show(kaggle_kit.load_run(session.project(), run), render.run)


@command.command(
    "prune",
    examples=(
        "kk runs prune --dry-run                               what would go, and how much",
        "kk runs prune --keep-newest 5 --keep-best 3 --yes     weights of the others that nothing refers to",
        "kk runs prune --states-only --older-than 2            what stopped and finished runs left behind",
    ),
)
@sparing_options(
    newest="Leave the newest N finished runs alone.",
    best="Leave the best N by CV alone.",
    old="Only runs that are at least that old.",
)
@click.option("--states-only", is_flag=True, help="Only training states and temporary files; weights stay.")
@removing_options
@settings_options
@pass_session
def prune(
    session: Session, keep_newest: int, keep_best: int, older_than: float, states_only: bool, dry_run: bool, yes: bool
) -> None:
    """Drop weights and predictions of old runs, keep every score.

    Shows what would go and how much that is, then asks. Runs that a submission or an ensemble is made of keep everything, those that are
    being trained too; states and temporary files go where no run will go on from them. Records and scores always stay.
    """
    project = session.project()
    rule = kaggle_kit.RunPruneRule(keep_newest, keep_best, older_than, states_only)
    remove_planned(session, project, kaggle_kit.plan_prune_runs(project, rule), dry_run=dry_run, yes=yes)
