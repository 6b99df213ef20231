"""The competition's data as a project's settings describe it: found, read, checked, cleaned."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.archive import Record, RunStore
from kaggle_kit.competition import Competition, TrainKeys
from kaggle_kit.config import Project, Settings
from kaggle_kit.embeddings import Folds, Pairs, TestCaptions, apply_data_settings, find_file, load_pairs, load_test
from kaggle_kit.embeddings.cleaning import Loader
from kaggle_kit.embeddings.npz import NpzFile
from kaggle_kit.errors import DataError, MissingError, UsageError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.settings import DataSettings


def find_train(project: Project) -> Path:
    """The training file.

    Raises:
        MissingError: it is nowhere.
        UsageError: the competition has none.
    """
    return _find(project, "train")


def find_sample(project: Project) -> Path:
    """The sample submission.

    Raises:
        MissingError: it is nowhere.
        UsageError: the competition has none.
    """
    return _find(project, "sample")


def _find(project: Project, part: str) -> Path:
    """The file that the competition's description names ``files.<part>``.

    Raises:
        MissingError: it is nowhere.
        UsageError: none is named.
    """
    competition = project.settings.competition
    name = getattr(competition.files, part)
    if name is None:
        require_embeddings(competition)
        raise UsageError(
            f"competition.files.{part} of {competition.slug} is none", "name it in kk.toml or in the description"
        )
    return find_file(name, slug=competition.slug, data_dir=project.data_dir)


def require_embeddings(competition: Competition) -> None:
    """Nothing, when the competition has embeddings to train on and to predict from.

    Raises:
        UsageError: it has none.
    """
    if competition.plain:
        raise UsageError(
            f"{competition.slug} has no embeddings to train on or to predict from (competition.files.test is none)",
            "kk validate FILE and kk submit FILE take a file that was made elsewhere",
        )


def training_pairs(project: Project, *, progress: Progress = SILENCE) -> tuple[Pairs, dict[str, Any]]:
    """The training pairs after the [data] settings, and the report of what those changed.

    Raises:
        MissingError: the training file, or the run of ``data.noise_run``, is nowhere.
        DataError: it is not what it should be.
    """
    data = project.settings.data
    load = partial(_load, project, progress)
    pairs = load(find_train(project))
    test = read_test(project, progress=progress) if data.drop_near_test is not None else None
    predictions = None
    if data.drop_noisiest and data.noise_by == "predictions" and data.noise_run is not None:
        record = RunStore(project.models_dir).load(data.noise_run)
        data = replace(data, noise_run=record.id)
        predictions = _out_of_fold(project, record, pairs, load)
    keys = project.settings.competition.train_keys
    return apply_data_settings(pairs, data, test=test, predictions=predictions, root=project.root, keys=keys, load=load)


def competition_pairs(project: Project, *, progress: Progress = SILENCE) -> Pairs:
    """The training pairs as the competition gives them, whatever the [data] settings say.

    Raises:
        MissingError: the training file is nowhere.
        DataError: it is not what it should be.
    """
    return _load(project, progress, find_train(project))


def _load(project: Project, progress: Progress, path: Path, keys: TrainKeys | None = None) -> Pairs:
    data = project.settings.data
    keys = keys or project.settings.competition.train_keys
    return load_pairs(path, keys, cache_gb=data.cache_gb, cache_wait_s=data.cache_wait_s, progress=progress)


def _out_of_fold(project: Project, record: Record, pairs: Pairs, load: Loader) -> np.ndarray:
    """A run's out-of-fold prediction of each of ``pairs``' captions, (captions, d_image) float32; zeros where it has none.

    Raises:
        UsageError: an ensemble has none.
        MissingError: the run has not finished.
        DataError: it was trained on other data.
    """
    from kaggle_kit.training.crossvalidation import out_of_fold

    if record.get("kind") == "ensemble":
        raise UsageError(
            f"{record.id} is an ensemble, which keeps no predictions", "set data.noise_run to one of its runs"
        )
    if record["data"]["train_sha256"] != pairs.file.sha256:
        raise DataError(
            f"run {record.id} was trained on data with sha256 {record['data']['train_sha256'][:12]}…, "
            f"{pairs.file.path} has {pairs.file.sha256[:12]}…",
            "set data.noise_run to a run on this data",
        )
    settings = Settings.from_dict(record["config"])
    # what that run left out it still predicted, what it added stands behind the competition's own captions
    added = DataSettings(extra=settings.data.extra, extra_weight=settings.data.extra_weight)
    seen, _ = apply_data_settings(pairs, added, root=project.root, keys=settings.competition.train_keys, load=load)
    return out_of_fold(record.folder, seen, Folds.load(record.folder), settings).predictions[: len(pairs)].numpy()


def read_test(project: Project, *, progress: Progress = SILENCE) -> TestCaptions:
    """The test captions, with the texts of the captions file where there is one.

    Raises:
        MissingError: the test file is nowhere.
        UsageError: the competition has none.
        DataError: it is not what it should be.
    """
    competition = project.settings.competition
    path, texts = _find(project, "test"), None
    if competition.files.test_captions is not None:
        with suppress(MissingError):
            texts = _find(project, "test_captions")
    return load_test(path, competition.test_keys, captions_file=texts, progress=progress)


def image_dimension(project: Project) -> int | None:
    """Numbers in a vector to submit, from the training file's header alone; None when no such file can be read here."""
    try:
        header = NpzFile(find_train(project)).header(project.settings.competition.train_keys.image_embeddings)
    except (MissingError, DataError):
        return None
    return int(header.shape[1]) if len(header.shape) == 2 else None
