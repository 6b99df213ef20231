"""The competition's data as a project's settings describe it: found, read, checked, cleaned."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

from kaggle_kit.config import Project
from kaggle_kit.embeddings import Pairs, TestCaptions, apply_data_settings, find_file, load_pairs, load_test
from kaggle_kit.embeddings.npz import NpzFile
from kaggle_kit.errors import MissingError
from kaggle_kit.progress import SILENCE, Progress


def find_train(project: Project) -> Path:
    """The training file.

    Raises:
        MissingError: it is nowhere.
    """
    competition = project.settings.competition
    return find_file(competition.files.train, slug=competition.slug, data_dir=project.data_dir)


def training_pairs(project: Project, *, progress: Progress = SILENCE) -> tuple[Pairs, dict[str, Any]]:
    """The training pairs after the [data] settings, and the report of what those changed.

    Raises:
        MissingError: the training file is nowhere.
        DataError: it is not what it should be.
    """
    settings, data = project.settings, project.settings.data
    keys = settings.competition.train_keys
    pairs = load_pairs(find_train(project), keys, cache_gb=data.cache_gb, progress=progress)
    test = read_test(project, progress=progress) if data.drop_near_test is not None else None
    return apply_data_settings(pairs, data, test=test, root=project.root, keys=keys)


def read_test(project: Project, *, progress: Progress = SILENCE) -> TestCaptions:
    """The test captions, with the texts of the captions file where there is one.

    Raises:
        MissingError: the test file is nowhere.
        DataError: it is not what it should be.
    """
    competition = project.settings.competition
    places = {"slug": competition.slug, "data_dir": project.data_dir}
    path = find_file(competition.files.test, **places)
    texts = None
    if competition.files.test_captions is not None:
        with suppress(MissingError):
            texts = find_file(competition.files.test_captions, **places)
    return load_test(path, competition.test_keys, captions_file=texts, progress=progress)


def image_dimension(project: Project) -> int | None:
    """Numbers in a vector to submit, from the training file's header alone; None when that file is not there."""
    try:
        path = find_train(project)
    except MissingError:
        return None
    header = NpzFile(path).header(project.settings.competition.train_keys.image_embeddings)
    return int(header.shape[1]) if len(header.shape) == 2 else None
