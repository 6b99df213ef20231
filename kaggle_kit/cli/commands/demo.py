"""``kk demo``."""

from __future__ import annotations

from pathlib import Path

import click

import kaggle_kit
from kaggle_kit import render
from kaggle_kit.cli.root import Described
from kaggle_kit.cli.session import Session, pass_session


@click.command(
    cls=Described,
    examples=(
        "kk demo                   in ./demo",
        "kk demo --folder /tmp/kk",
        "kk demo --write big       only write data of the real competition's size: 125,000 captions, 25,000 images",
        "kk demo --write small --captions 1000 --images 200",
    ),
)
@click.option("--folder", type=click.Path(path_type=Path), default=Path("demo"), show_default=True,
              help="Folder for the demo's project; nothing outside it is touched.")  # fmt: skip
@click.option("--force", is_flag=True, help="Replace a former demo there also if files were added to it or changed.")
@click.option("--write", type=click.Path(path_type=Path), metavar="DIR",
              help="Only write a made-up competition's files into a new folder.")  # fmt: skip
@click.option(
    "--captions", type=click.IntRange(min=1), metavar="N", help="Training captions of --write, 125000 unless given."
)
@click.option(
    "--images", type=click.IntRange(min=1), metavar="M", help="Training images of --write, 25000 unless given."
)
@pass_session
def command(
    session: Session, folder: Path, force: bool, write: Path | None, captions: int | None, images: int | None
) -> None:
    """Play the whole loop without a Kaggle account.

    On a small generated competition: fetches from, trains for, submits to and is scored by a Kaggle-compatible server on this machine.
    """
    sizes = {name: size for name, size in (("captions", captions), ("images", images)) if size is not None}
    if write is not None:
        written = kaggle_kit.write_competition(write, **sizes, progress=session.progress)
        session.show(written, render.written_competition)
        return
    if sizes:
        raise click.UsageError("--captions and --images go with --write DIR")
    session.show(kaggle_kit.demo(folder, force=force, progress=session.progress), render.rehearsal)
