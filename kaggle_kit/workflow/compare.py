"""Compare runs, or configurations trained on the spot: same folds, paired image by image, with costs beside the scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.archive import HistoryTable, Record, RunStore
from kaggle_kit.config import Project, Settings
from kaggle_kit.embeddings import Folds, Pairs
from kaggle_kit.errors import DataError, MissingError, UsageError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.data import training_pairs
from kaggle_kit.workflow.predict import finished_run
from kaggle_kit.workflow.project import load_project
from kaggle_kit.workflow.train import train

RESAMPLES = 2000
TIMED_QUERIES = 1000
COLUMNS = (
    "run",
    "translator",
    "cv",
    "cv_error",
    "full_mrr",
    "difference",
    "difference_error",
    "low",
    "high",
    "seconds",
    "parameters",
    "megabytes",
    "ms_a_query",
    "leaks",
)


def compare(project: Project, targets: Sequence[str], *, progress: Progress = SILENCE) -> HistoryTable:
    """Score runs and configurations on the same galleries; every difference is to the first of them.

    A target is a run's id (or the unique beginning of one), or a configuration: a TOML file or the name of a shipped one. A
    configuration that the archive holds a finished run of, with the same data and folds, is not trained again.

    Args:
        targets: at least two.

    Returns:
        A row a target: CV and its error, full-gallery MRR, the paired difference with its standard error and 95 % bootstrap interval
        over images, seconds of training, parameters of one translator, megabytes of all checkpoints, milliseconds a query.

    Raises:
        UsageError: fewer than two targets.
        DataError: runs of other data or other folds.
    """
    if len(targets) < 2:
        raise UsageError("a comparison needs at least two runs or configurations", "kk runs list shows the runs")
    records = [_resolve(project, target, progress) for target in targets]
    pairs, _ = training_pairs(project, progress=progress)
    _check(records, pairs)
    scores = [_image_scores(record, pairs) for record in records]
    rows = [_row(record, one, scores[0], pairs) for record, one in zip(records, scores, strict=True)]
    return HistoryTable(COLUMNS, rows)


def _resolve(project: Project, target: str, progress: Progress) -> Record:
    """The finished run that a target names, trained now when it is a configuration without one."""
    try:
        return finished_run(project, target)
    except (MissingError, UsageError) as no_run:
        try:
            configured = load_project(project.root, config=target)
        except MissingError:
            raise no_run from None
    digest, store = configured.settings.digest(), RunStore(project.models_dir)
    known = store.list(
        where=lambda one: one["config_digest"] == digest and one.state == "done" and one["kind"] == "run"
    )
    if known:
        progress.note(f"{target}: {known[0].id} was trained with these settings")
        return known[0]
    progress.note(f"{target}: training")
    return store.read(train(configured, name=Path(target).stem, progress=progress).id)


def _check(records: Sequence[Record], pairs: Pairs) -> None:
    first = records[0]
    for record in records:
        if record["kind"] != "run":
            raise UsageError(f"{record.id} is an ensemble", "compare the runs that it is made of")
        if record["data"]["train_sha256"] != pairs.file.sha256 or record["data"]["captions"] != len(pairs):
            raise DataError(f"run {record.id} was trained on other data than is here", "train it anew")
        if record["folds"]["digest"] != first["folds"]["digest"]:
            raise DataError(
                f"runs {first.id} and {record.id} have different folds, so their images cannot be compared one by one",
                "train with the same folds.count, folds.seed and folds.group",
            )


def _image_scores(record: Record, pairs: Pairs) -> np.ndarray:
    """Mean reciprocal rank of each image, (images,), NaN where never dealt; all runs meet the same galleries."""
    import torch

    from kaggle_kit.metrics import gallery_reciprocal_ranks
    from kaggle_kit.training.crossvalidation import out_of_fold

    settings = Settings.from_dict(record["config"])
    oof = out_of_fold(record.folder, pairs, Folds.load(record.folder), settings)
    captions = np.flatnonzero(oof.covered)
    return gallery_reciprocal_ranks(
        oof.predictions[torch.from_numpy(captions)],
        torch.from_numpy(np.array(pairs.images)),
        pairs.image_of_caption[captions],
        gallery_size=settings.competition.gallery_size,
        draws=settings.validation.draws,
        seed=0,
        groups=oof.fold_of_image,
    )


def paired_difference(scores: np.ndarray, base: np.ndarray, *, seed: int = 0) -> tuple[float, float, float, float]:
    """Mean difference over images that both were scored on, its standard error, and its 95 % bootstrap interval.

    Source of the interval: Efron, Bootstrap Methods: Another Look at the Jackknife, Annals of Statistics 1979 (percentiles).
    """
    both = ~(np.isnan(scores) | np.isnan(base))
    differences = scores[both] - base[both]
    count = len(differences)
    error = float(differences.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")
    generator = np.random.default_rng(seed)
    means = [differences[generator.integers(0, count, count)].mean() for _ in range(RESAMPLES if count else 0)]
    low, high = np.percentile(means, [2.5, 97.5]) if means else (float("nan"), float("nan"))
    return float(differences.mean()), error, float(low), float(high)


def _row(record: Record, scores: np.ndarray, base: np.ndarray, pairs: Pairs) -> dict[str, Any]:
    known = paired_difference(scores, base) if scores is not base else (None, None, None, None)
    return {
        "run": record.id,
        "translator": record["translator"],
        "cv": float(np.nanmean(scores)),
        "cv_error": record["cv"]["error"],
        "full_mrr": record["cv"]["full_mrr"],
        **dict(zip(("difference", "difference_error", "low", "high"), known, strict=True)),
        "seconds": record.get("train_seconds"),
        **_cost(record, pairs),
        "leaks": bool(record["leaks"]),
    }


def _cost(record: Record, pairs: Pairs) -> dict[str, Any]:
    """Size of the translators, and how long all of them together take for one of many queries, loading left out."""
    import torch

    from kaggle_kit.training.checkpoints import load_translator

    paths = [path for path, _ in RunStore(record.folder.parent).checkpoints(record)]
    translators = [load_translator(path) for path in paths]
    rows = torch.from_numpy(np.array(pairs.text[:TIMED_QUERIES]))
    translators[0].translate(rows)  # the first call pays for set-up
    started = time.perf_counter()
    for translator in translators:
        translator.translate(rows)
    elapsed = time.perf_counter() - started
    return {
        "parameters": sum(tensor.numel() for tensor in translators[0].state_dict().values()),
        "megabytes": sum(path.stat().st_size for path in paths) / 1e6,
        "ms_a_query": 1000 * elapsed / len(rows),
    }
