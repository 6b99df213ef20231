"""All folds and seeds of a run: what is finished stays finished, every caption is predicted once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kaggle_kit.config import Settings
from kaggle_kit.embeddings import Folds, Pairs, split_pairs
from kaggle_kit.errors import DataError, MissingError
from kaggle_kit.metrics import GalleryScore, gallery_mrr, retrieval_scores, unit
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.training.context import RunContext
from kaggle_kit.training.fold import FoldData, fold_data
from kaggle_kit.training.interrupts import Deadline, stop_on_signals
from kaggle_kit.training.member import PREDICTIONS, MemberResult, MemberTask, finished_member, train_member
from kaggle_kit.training.precision import Hardware, choose_hardware
from kaggle_kit.translators import translators


@dataclass(frozen=True)
class OutOfFold:
    """Predictions of captions by translators that never saw their image.

    Attributes:
        predictions: (captions, d_image) float32 unit rows; zero where ``covered`` is False.
        covered: (captions,) bool, False for captions that were never held out (a single hold-out).
        fold_of_image: (images,) integer; only images of one fold may share a gallery, for each was trained on by the other folds.
    """

    predictions: Tensor
    covered: np.ndarray
    fold_of_image: np.ndarray


@dataclass(frozen=True)
class CrossValidation:
    """A finished cross-validation: its members, in the order of fold and seed, and the out-of-fold score."""

    members: list[MemberResult]
    score: GalleryScore
    dot_score: GalleryScore
    scores: dict[str, float]
    hardware: Hardware


def member_tasks(settings: Settings) -> list[MemberTask]:
    """Every fold with every seed, fold by fold."""
    return [
        MemberTask(fold, number, settings.train.seed)
        for fold in range(settings.folds.count)
        for number in range(settings.train.seeds)
    ]


def cross_validate(
    pairs: Pairs,
    folds: Folds,
    settings: Settings,
    folder: Path,
    *,
    header: dict[str, Any],
    deadline: Deadline | None = None,
    progress: Progress = SILENCE,
) -> CrossValidation:
    """Train every fold and seed that is not finished below ``folder``, then score the run out of fold.

    Args:
        pairs: the training pairs.
        folds: which image is held out where.
        folder: the run's folder; each member has one inside.
        header: the origin that each checkpoint carries.
        deadline: when to have stopped, with everything saved; None: no limit.

    Raises:
        TrainingError: a member diverged.
        InterruptedWork, KeyboardInterrupt: asked to stop; a later call goes on.
    """
    train = settings.train
    hardware = choose_hardware(train.device, train.precision, train.threads)
    progress.note(f"training on {hardware.name} ({hardware.device}, {hardware.precision}, {hardware.threads} threads)")
    with stop_on_signals(deadline) as stop:
        context = RunContext(settings, hardware, folder, header, stop, progress)
        members = [_member(task, pairs, folds, context) for task in member_tasks(settings)]
        if stop:
            stop.raise_stop("the end of the last fold")
    oof = out_of_fold(folder, pairs, folds, settings)
    score, dot_score, scores = score_out_of_fold(oof, pairs, settings)
    return CrossValidation(members, score, dot_score, scores, hardware)


def _member(task: MemberTask, pairs: Pairs, folds: Folds, context: RunContext) -> MemberResult:
    """The member's result, trained now unless its files are there already."""
    settings, progress = context.settings, context.progress
    done = finished_member(context.folder / task.name)
    what = f"fold {task.fold + 1}/{settings.folds.count}" + (
        f" seed {task.seed_number + 1}/{settings.train.seeds}" if settings.train.seeds > 1 else ""
    )
    if done is not None:
        progress.note(f"{what}: already trained, MRR {done.mrr:.4f}")
        return done
    if context.stop.before("prepare", "step", "save"):
        context.stop.raise_stop(f"the start of {task.name}")
    closed = translators[settings.translator.name].closed_form
    watch = progress.start(what, None if closed else settings.train.epochs, "epochs")
    result = train_member(task, _fold(pairs, folds, task.fold, settings), context, watch)
    watch.finish(f"{what}: MRR {result.mrr:.4f} ± {result.error:.4f} in {result.seconds:.1f} s")
    return result


def _fold(pairs: Pairs, folds: Folds, number: int, settings: Settings) -> FoldData:
    train, validation = split_pairs(pairs, folds, number)
    return fold_data(
        pairs.text,
        pairs.images,
        pairs.image_of_caption,
        train,
        validation,
        weight=pairs.weight,
        gallery_size=settings.competition.gallery_size,
    )


def out_of_fold(folder: Path, pairs: Pairs, folds: Folds, settings: Settings) -> OutOfFold:
    """Gather the members' saved predictions; the seeds of a fold are averaged as unit vectors.

    Raises:
        DataError: a member's predictions do not fit the folds, or a caption would be predicted twice.
        MissingError: a member has not finished.
    """
    predictions = torch.zeros(len(pairs.text), pairs.images.shape[1])
    covered = np.zeros(len(pairs.text), dtype=bool)
    for fold in range(settings.folds.count):
        _, validation = split_pairs(pairs, folds, fold)
        if covered[validation].any():
            raise DataError(f"fold {fold} predicts captions that another fold predicted", "train the run anew")
        covered[validation] = True
        predictions[torch.from_numpy(validation)] = _fold_predictions(folder, fold, settings, len(validation), pairs)
    return OutOfFold(predictions, covered, folds.fold_of_image.astype(np.int64))


def _fold_predictions(folder: Path, fold: int, settings: Settings, captions: int, pairs: Pairs) -> Tensor:
    """(captions, d_image) unit rows: the saved predictions of the fold's seeds, averaged."""
    total = torch.zeros(captions, pairs.images.shape[1])
    for number in range(settings.train.seeds):
        path = folder / MemberTask(fold, number, settings.train.seed).name / PREDICTIONS
        if not path.is_file():
            raise MissingError(f"no out-of-fold predictions at {path}", "kk train --resume finishes a run")
        try:
            saved = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"{path} is damaged: {error}", "delete it, then kk train --resume RUN") from None
        if saved.shape != tuple(total.shape):
            raise DataError(
                f"{path} has shape {saved.shape}, the fold needs {tuple(total.shape)}", "train the run anew"
            )
        total += unit(torch.from_numpy(saved))
    return unit(total)


def score_out_of_fold(
    oof: OutOfFold, pairs: Pairs, settings: Settings
) -> tuple[GalleryScore, GalleryScore, dict[str, float]]:
    """MRR in galleries by cosine, the same by dot product, and the figures over the full gallery."""
    captions = np.flatnonzero(oof.covered)
    used, renumbered = np.unique(pairs.image_of_caption[captions], return_inverse=True)
    predictions = oof.predictions[torch.from_numpy(captions)]
    images, groups = torch.from_numpy(np.ascontiguousarray(pairs.images[used])), oof.fold_of_image[used]
    scores = [
        gallery_mrr(
            predictions,
            images,
            renumbered,
            gallery_size=settings.competition.gallery_size,
            draws=settings.validation.draws,
            seed=settings.validation.seed,
            similarity=similarity,
            groups=groups,
        )
        for similarity in ("cosine", "dot")
    ]
    return scores[0], scores[1], retrieval_scores(predictions, images, renumbered, groups=groups).to_dict()
