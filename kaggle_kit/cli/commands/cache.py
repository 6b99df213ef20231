"""``kk cache``."""

from __future__ import annotations

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.options import settings_options
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=("kk cache            which files it holds, and how much it may take", "kk cache --clear    empty it"),
)
@click.option("--clear", is_flag=True, help="Empty it; the next load of each file takes as long as its first.")
@settings_options
@pass_session
def command(session: Session, clear: bool) -> None:
    """Show the cache of training files already read.

    A file is read and checked once, then mapped from the cache in a fraction of a second. Entries that were not used
    for longest make room; data.cache_gb is the most that all may take, KK_CACHE_DIR moves the cache.
    """
    project = session.project()
    session.show(kaggle_kit.clear_cache(project) if clear else kaggle_kit.cached_files(project), render.cache)
