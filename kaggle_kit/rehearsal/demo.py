"""The whole loop on a small made-up competition, without an account or a network."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from kaggle_kit.competition import Competition
from kaggle_kit.config import Settings
from kaggle_kit.embeddings import generate_competition, load_test
from kaggle_kit.errors import KaggleKitError, UsageError, storage_errors
from kaggle_kit.files import read_json, write_json
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.rehearsal.stage import HOSTED, Rehearsal, stage
from kaggle_kit.workflow.ensemble import ensemble
from kaggle_kit.workflow.project import load_project
from kaggle_kit.workflow.train import Run, train

MARKER = ".kk-demo"
_ABOUT = "This folder belongs to kk demo, which replaces it at its next start where these files are as it left them."


_FLEETING = ("*.lock", "index.sqlite*", "*.tmp")
"""Files that commands change by looking: nobody's work."""


def demo(folder: Path = Path("demo"), *, force: bool = False, progress: Progress = SILENCE) -> Rehearsal:
    """Fetch, train, ensemble, submit and score on a generated competition against a server on this machine.

    Args:
        folder: where it is played; a former demo in it is replaced.
        force: also one in which files were added or changed since.

    Raises:
        UsageError: ``folder`` holds something else, or what a former demo did not write.
    """
    if _clear(folder, force=force):
        progress.note(f"the former demo in {folder} is replaced")
    try:
        return _play(folder, progress)
    finally:
        with suppress(OSError, KaggleKitError):  # where the demo failed for lack of space, say, that error counts
            write_json(folder / MARKER, {"about": _ABOUT, "files": _files_in(folder)})


def _play(folder: Path, progress: Progress) -> Rehearsal:
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
        second = _train(play.project.root, progress, config="fast", overrides={"train.epochs": 6})
        play.submit(second, "network, fast preset")
        progress.note("5. kk ensemble; kk submit; kk leaderboard")
        both = ensemble(play.project, [first.id, second.id], progress=progress)
        play.submit(both, "both, averaged")
        return play.curtain()


def _clear(folder: Path, *, force: bool) -> bool:
    """Make room: a former demo goes, anything else stays and is an error. Whether there was a former one."""
    former = folder.exists() and any(folder.iterdir())
    if former:
        if not (folder / MARKER).is_file():
            raise UsageError(f"{folder} is not empty and no former demo", "name another one with --folder")
        if not force:
            _refuse_others(folder)
        with storage_errors(folder, "clearing"):
            shutil.rmtree(folder)
    write_json(folder / MARKER, {"about": _ABOUT, "files": {}})
    return former


def _refuse_others(folder: Path) -> None:
    """Nothing is thrown away that the former demo did not leave as it is.

    Raises:
        UsageError: files were added to it or changed.
    """
    try:
        left = read_json(folder / MARKER)["files"]
    except (KaggleKitError, LookupError, TypeError):
        left = {}
    others = [name for name, state in _files_in(folder).items() if left.get(name) != state]
    if others:
        more = f" and {len(others) - 3:,} more" if len(others) > 3 else ""
        raise UsageError(
            f"{folder} holds what its demo did not write: {', '.join(others[:3])}{more}",
            "--folder DIR plays in another folder; --force replaces this one with all that is in it",
        )


def _files_in(folder: Path) -> dict[str, list[int]]:
    """Size and time of change (ns) of every file by its path, the newest first."""
    found: dict[str, list[int]] = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if name != MARKER and path.is_file() and not any(path.match(pattern) for pattern in _FLEETING):
            found[name] = [path.stat().st_size, path.stat().st_mtime_ns]
    return dict(sorted(found.items(), key=lambda item: item[1][1], reverse=True))


def _train(
    folder: Path, progress: Progress, *, config: str | None = None, overrides: dict[str, object] | None = None
) -> Run:
    """What ``kk train`` does in that folder, whatever the user's variables say."""
    return train(load_project(folder, config=config, overrides=overrides, environ={}), progress=progress)
