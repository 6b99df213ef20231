"""Play the competition on hidden images of one's own training data, before a submission is spent on it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from kaggle_kit.competition import Competition
from kaggle_kit.config import Project
from kaggle_kit.embeddings import Pairs, hide_images, write_test_npz, write_train_npz
from kaggle_kit.errors import UsageError
from kaggle_kit.files import hash_of, write_npy
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.rehearsal.stage import HOSTED, Rehearsal, stage
from kaggle_kit.workflow.data import competition_pairs
from kaggle_kit.workflow.train import train

FOLDER = "rehearsals"
MOST_HIDDEN = 600
SUBMISSIONS_A_DAY = 1000
ANSWERS = "answers.npy"


def rehearse(project: Project, *, hide: int | None = None, seed: int = 0, progress: Progress = SILENCE) -> Rehearsal:
    """Hide images, train on the others with the project's settings, submit to a server on this machine, and be scored.

    One folder a choice of hidden images: rehearsals of other settings on the same images share a history, row beside row.

    Args:
        hide: images to hide; a tenth of them in whole galleries, 600 at most, when None.
        seed: which images.

    Raises:
        UsageError: too few images to hide that many.
        MissingError, DataError, TrainingError: as in ``train``.
    """
    competition, data = project.settings.competition, project.settings.data
    if data.drop_captions is not None:
        raise UsageError("data.drop_captions counts rows of the whole training file", "leave it out of a rehearsal")
    if data.drop_noisiest and data.noise_by == "predictions":
        raise UsageError(
            'data.noise_by = "predictions" means a run that has seen the images to hide',
            'set data.noise_by = "centroid" for a rehearsal',
        )
    pairs = competition_pairs(project, progress=progress)
    count = _how_many(pairs, hide, competition.gallery_size)
    played = replace(
        competition,
        slug=f"{competition.slug}-rehearsal",
        title=f"Rehearsal of {competition.slug}",
        rehearsal=True,
        files=replace(competition.files, train_sha256=None, test_sha256=None),
    )
    key = hash_of([pairs.file.sha256, count, seed])[:8]
    folder = project.root / FOLDER / f"{competition.slug}-{count}-hidden-{seed}-{key}"
    extra = None if data.extra is None else str(project.root / data.extra)  # the rehearsal has a root of its own
    settings = replace(project.settings, competition=played, data=replace(data, extra=extra))
    ids, answers = _hosted_files(folder, pairs, count, seed, played, progress)
    with stage(folder, settings, ids, answers, submissions_a_day=SUBMISSIONS_A_DAY, progress=progress) as play:
        play.fetch()
        run = train(replace(play.project, origins=project.origins), progress=progress)
        play.submit(run, _message(project))
        return play.curtain()


def _how_many(pairs: Pairs, hide: int | None, gallery_size: int) -> int:
    images = len(pairs.images)
    if hide is not None:
        if not 2 <= hide <= images // 2:
            raise UsageError(f"cannot hide {hide} of {images:,} images", f"choose from 2 to {images // 2}")
        return hide
    tenth = max(2, min(MOST_HIDDEN, images // 10))
    return tenth // gallery_size * gallery_size or tenth


def _hosted_files(
    folder: Path, pairs: Pairs, count: int, seed: int, competition: Competition, progress: Progress
) -> tuple[np.ndarray, np.ndarray]:
    """Write what the server offers, once; the ids and the answers that it hides."""
    hosted = folder / HOSTED
    if (hosted / ANSWERS).is_file():
        answers = np.load(hosted / ANSWERS, allow_pickle=False)
        return np.arange(1, len(answers) + 1), answers
    progress.note(f"hiding {count:,} of {len(pairs.images):,} images in {folder}")
    train_part, test, answers = hide_images(pairs, count, seed)
    train_file, test_file = competition.embedding_files
    write_train_npz(hosted / "files" / train_file, train_part, competition.train_keys)
    write_test_npz(hosted / "files" / test_file, test, competition.test_keys)
    write_npy(hosted / ANSWERS, answers)  # last: it says that the files are whole
    return test.ids, answers


def _message(project: Project) -> str:
    config = {origin for origin in project.origins.values() if origin.endswith(".toml") and origin != "kk.toml"}
    return " ".join([project.settings.translator.name, *sorted(Path(name).stem for name in config)])
