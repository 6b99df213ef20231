"""``kk config``."""

from __future__ import annotations

from functools import partial

import click

from kaggle_kit import render
from kaggle_kit.cli.options import settings_options
from kaggle_kit.cli.root import Family
from kaggle_kit.cli.session import Session, pass_session


@click.group(cls=Family, examples=("kk config show --origin",))
def command() -> None:
    """Look at the settings in force."""


@command.command(
    examples=(
        "kk config show                    every setting that is in force here",
        "kk config show --origin           and which file, variable or flag it comes from",
        "kk config show train --meaning    one section, explained",
    )
)
@click.argument("section", required=False)
@click.option("--origin", is_flag=True, help="Where each value comes from.")
@click.option("--meaning", is_flag=True, help="What each setting means.")
@settings_options
@pass_session
def show(session: Session, section: str | None, origin: bool, meaning: bool) -> None:
    """Show the settings in force: flags over KK_* variables over --config over kk.toml over recipe over defaults."""
    rows = session.project(training=True).rows(section)
    session.show(rows, partial(render.settings, origin=origin, meaning=meaning))
