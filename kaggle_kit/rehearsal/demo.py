"""The whole loop on a small made-up competition, without an account or a network."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from kaggle_kit.competition import Competition
from kaggle_kit.config import Settings
from kaggle_kit.embeddings import generate_competition, load_test
from kaggle_kit.errors import UsageError, storage_errors
from kaggle_kit.files import write_bytes
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.rehearsal.stage import HOSTED, Rehearsal, stage
from kaggle_kit.workflow.ensemble import ensemble
from kaggle_kit.workflow.project import load_project
from kaggle_kit.workflow.train import Run, train

MARKER = ".kk-demo"


def demo(folder: Path = Path("demo"), *, progress: Progress = SILENCE) -> Rehearsal:
    """Fetch, train, ensemble, submit and score on a generated competition against a server on this machine.

    Args:
        folder: where it is played; a former demo in it is replaced.

    Raises:
        UsageError: ``folder`` holds something else.
    """
    if _clear(folder):
        progress.note(f"the former demo in {folder} is replaced")
    competition = Competition(slug="demo-competition", title="A made-up competition", rehearsal=True)
    progress.note("1. making up a small competition: text and image embeddings of things that do not exist")
    files = folder / HOSTED / "files"
    answers = generate_competition(files, files=competition.files, progress=progress)
    ids = load_test(files / competition.embedding_files[1]).ids
    with stage(
        folder.resolve(),
        replace(Settings(), competition=competition),
        ids,
        answers,
        submissions_a_day=10,
        progress=progress,
    ) as play:
        progress.note("2. kk fetch")
        play.fetch()
        progress.note("3. kk train --translator whitened_ridge; kk submit")
        first = _train(play.project.root, progress, overrides={"translator.name": "whitened_ridge"})
        play.submit(first, "closed form: whitened ridge")
        progress.note("4. kk train --preset fast --epochs 6; kk submit")
        second = _train(play.project.root, progress, config="fast", overrides={"train.epochs": 6, "train.min_steps": 0})
        play.submit(second, "network, fast preset")
        progress.note("5. kk ensemble; kk submit; kk leaderboard")
        both = ensemble(play.project, [first.id, second.id], progress=progress)
        play.submit(both, "both, averaged")
        return play.curtain()


def _clear(folder: Path) -> bool:
    """Make room: a former demo goes, anything else stays and is an error. Whether there was a former one."""
    former = folder.exists() and any(folder.iterdir())
    if former:
        if not (folder / MARKER).is_file():
            raise UsageError(f"{folder} is not empty and no former demo", "name another one with --folder")
        with storage_errors(folder, "clearing"):
            shutil.rmtree(folder)
    write_bytes(folder / MARKER, b"This folder belongs to kk demo, which replaces it at every start.\n")
    return former


def _train(
    folder: Path, progress: Progress, *, config: str | None = None, overrides: dict[str, object] | None = None
) -> Run:
    """What ``kk train`` does in that folder, whatever the user's variables say."""
    return train(load_project(folder, config=config, overrides=overrides, environ={}), progress=progress)
