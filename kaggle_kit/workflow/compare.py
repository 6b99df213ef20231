"""Compare runs, or configurations trained on the spot: same folds, paired image by image, with costs beside the scores."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.archive import HistoryTable, Record, RunStore
from kaggle_kit.config import Project, Settings
from kaggle_kit.config.model import CHOICES
from kaggle_kit.embeddings import Folds, Pairs, split_pairs
from kaggle_kit.errors import DataError, MissingError, UsageError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.data import training_pairs
from kaggle_kit.workflow.predict import finished_run
from kaggle_kit.workflow.project import load_project
from kaggle_kit.workflow.train import recorded_plugins, train, without_refits

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
CURVE_COLUMNS = (
    "share",
    "images",
    "cv",
    "cv_error",
    "full_mrr",
    "difference",
    "difference_error",
    "low",
    "high",
    "seconds",
    "run",
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
    found = [(target, run_or_configuration(project, target)) for target in targets]  # all, before the first is trained
    pairs, _ = training_pairs(project, progress=progress)
    records = [
        one if isinstance(one, Record) else _trained(one, target, Path(target).stem, pairs, progress)
        for target, one in found
    ]
    _check(records, pairs)
    scores = [_image_scores(record, pairs, project.settings) for record in records]
    rows = [
        {**_row(record, one, scores[0]), **_cost(record, pairs)} for record, one in zip(records, scores, strict=True)
    ]
    return HistoryTable(COLUMNS, rows)


def learning_curve(
    project: Project,
    target: str | None = None,
    shares: Sequence[float] = (0.1, 0.25, 0.5, 1.0),
    *,
    progress: Progress = SILENCE,
) -> HistoryTable:
    """Train on growing shares of the images, validated on all of them: what more data would be worth.

    A smaller share is part of a larger one (``data.share_seed``). What the archive holds already is not trained again.

    Args:
        target: a configuration, or a run whose settings are taken; the project's own settings when None (the project must have been
            loaded with ``check_choices``).
        shares: of the images of each fold's training part, above 0 and at most 1; all of them (1) is always added.

    Returns:
        A row a share, rising: images trained on (the mean over folds), CV and its error, paired difference to all images with its
        standard error and 95 % bootstrap interval, seconds of training, the run.

    Raises:
        UsageError: a share out of range.
        DataError: a share that leaves fewer than two images.
    """
    wrong = [share for share in shares if not 0 < share <= 1]
    if wrong:
        raise UsageError(f"shares must be above 0 and at most 1, not {wrong[0]:g}", "--shares .1,.25,.5,1")
    base, name = _curve_base(project, target)
    points = [_with_share(base, share) for share in sorted({*shares, 1.0})]
    pairs, _ = training_pairs(base, progress=progress)
    records = [
        _trained(point, f"{100 * point.settings.data.share:g}% of the images", name, pairs, progress)
        for point in points
    ]
    _check(records, pairs)
    scores = [_image_scores(record, pairs, base.settings) for record in records]
    return HistoryTable(
        CURVE_COLUMNS,
        [
            {
                "share": point.settings.data.share,
                "images": _images_trained(point, record, pairs),
                **_row(record, one, scores[-1]),
            }
            for point, record, one in zip(points, records, scores, strict=True)
        ],
    )


def _curve_base(project: Project, target: str | None) -> tuple[Project, str | None]:
    """The project whose settings a curve is made of, and a name for its runs."""
    if target is None:
        return project, None
    found = run_or_configuration(project, target)
    if isinstance(found, Project):
        return found, Path(target).stem
    if found["kind"] != "run":
        raise UsageError(f"{found.id} is an ensemble", "name one of the runs that it is made of")
    settings = replace(Settings.from_dict(found["config"]), paths=project.settings.paths)
    return replace(project, settings=settings), found["name"]


def _with_share(project: Project, share: float) -> Project:
    data = replace(project.settings.data, share=share)
    return replace(project, settings=replace(project.settings, data=data))


def _images_trained(point: Project, record: Record, pairs: Pairs) -> int:
    """Images that a fold was trained on, the mean over folds."""
    data, folds = point.settings.data, Folds.load(record.folder)
    sampled = replace(pairs, share=data.share, share_seed=data.share_seed)
    trained = [split_pairs(sampled, folds, fold)[0] for fold in range(folds.count)]
    return round(float(np.mean([len(np.unique(pairs.image_of_caption[captions])) for captions in trained])))


def run_or_configuration(project: Project, target: str) -> Record | Project:
    """The finished run that a target names, or the project with the configuration that it names.

    Raises:
        MissingError: neither is there.
    """
    try:
        return finished_run(project, target)
    except (MissingError, UsageError) as no_run:
        try:
            return load_project(project.root, config=target, overrides=given_directly(project))
        except MissingError:
            raise no_run from None


def given_directly(project: Project) -> dict[str, Any]:
    """Settings that were given as flags or arguments, by dotted key: they hold for every configuration that is compared.

    What was said of a translator or a loss is left out: the configurations bring their own.
    """
    return {
        row.key: row.value
        for row in project.rows()
        if (row.origin.startswith("-") or row.origin == "argument") and row.key.partition(".")[0] not in CHOICES
    }


def _trained(project: Project, shown: str, name: str | None, pairs: Pairs, progress: Progress) -> Record:
    """A finished run with the project's settings, code and data, refits or not; trained now, without refits, unless there is one."""
    measured, store = without_refits(project), RunStore(project.models_dir)
    digests = (project.settings.digest(), measured.settings.digest())
    known = store.list(
        where=lambda one: one["config_digest"] in digests and one.state == "done" and one["kind"] == "run"
    )
    for found in (store.read(one.id) for one in known):
        same_code = (found.get("plugins") or {}) == recorded_plugins(project.settings)
        if same_code and found["data"]["train_sha256"] == pairs.file.sha256:
            progress.note(f"{shown}: {found.id} was trained with these settings")
            return found
    progress.note(f"{shown}: training")
    return store.read(train(measured, name=name, progress=progress).id)


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
                "train with the same [folds] settings",
            )


def _image_scores(record: Record, pairs: Pairs, dealt: Settings) -> np.ndarray:
    """Mean reciprocal rank of each image, (images,), NaN where never dealt; all runs meet the galleries of ``dealt``."""
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
        gallery_size=dealt.competition.gallery_size,
        draws=dealt.validation.draws,
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


def _row(record: Record, scores: np.ndarray, base: np.ndarray) -> dict[str, Any]:
    known = paired_difference(scores, base) if scores is not base else (None, None, None, None)
    return {
        "run": record.id,
        "translator": record["translator"],
        "cv": float(np.nanmean(scores)),
        "cv_error": record.cv_error,
        "full_mrr": record["cv"]["full_mrr"],
        **dict(zip(("difference", "difference_error", "low", "high"), known, strict=True)),
        "seconds": record.get("train_seconds"),
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
