"""All folds and seeds of a run: what is finished stays finished, every caption is predicted once."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kaggle_kit.config import Settings
from kaggle_kit.embeddings import Folds, Pairs, all_captions, split_pairs
from kaggle_kit.errors import DataError, MissingError
from kaggle_kit.metrics import GalleryScore, RetrievalScores, gallery_mrr, retrieval_scores, unit
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.training.context import RunContext
from kaggle_kit.training.fold import FoldData, fold_data
from kaggle_kit.training.fusable import why_without_kernels
from kaggle_kit.training.interrupts import Deadline, stop_on_signals
from kaggle_kit.training.job import Job
from kaggle_kit.training.loop import planned_epochs
from kaggle_kit.training.losses import build_loss
from kaggle_kit.training.member import PREDICTIONS, MemberResult, MemberTask, finished_member, train_member
from kaggle_kit.training.memory import memory_told
from kaggle_kit.training.parallel import Crew, choose_crew, train_in_parallel
from kaggle_kit.training.precision import Hardware
from kaggle_kit.translators import build_translator, translators


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
class OutOfFoldScores:
    """What out-of-fold predictions are worth.

    Attributes:
        cosine: MRR in galleries of the competition's size.
        dot: the same, ranked by dot product.
        full: the figures over the full gallery.
    """

    cosine: GalleryScore
    dot: GalleryScore
    full: RetrievalScores

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as the ``cv`` of a run's record."""
        return {**asdict(self.cosine), "dot_mrr": self.dot.mrr, **self.full.to_dict()}


@dataclass(frozen=True)
class CrossValidation:
    """A finished cross-validation: its members, in the order of fold and seed, the out-of-fold scores, and what it was computed with."""

    members: list[MemberResult]
    scores: OutOfFoldScores
    hardware: Hardware
    crew: Crew

    @property
    def score(self) -> GalleryScore:
        """The competition's score."""
        return self.scores.cosine


def member_tasks(settings: Settings) -> list[MemberTask]:
    """Every fold with every seed, fold by fold, then the refits."""
    folds = [(fold, number) for fold in range(settings.folds.count) for number in range(settings.train.seeds)]
    refits = [(None, number) for number in range(settings.train.refit)]
    return [MemberTask(fold, number, settings.train.seed) for fold, number in (*folds, *refits)]


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
    crew, hardware = choose_crew(settings)
    how = f"{hardware.device}, {hardware.precision}, {hardware.threads} threads{crew.words}"
    progress.note(f"training on {hardware.name} ({how})")
    if settings.train.kernels:
        _tell_of_unused_kernels(settings, hardware, pairs, crew, progress)
    with stop_on_signals(deadline) as stop:
        context = RunContext(settings, hardware, folder, header, stop, progress)
        members = _trained(crew, pairs, folds, context)
        if stop:
            stop.raise_stop("the end of the last fold")
    oof = out_of_fold(folder, pairs, folds, settings)
    return CrossValidation(members, score_out_of_fold(oof, pairs, settings), hardware, crew)


def _tell_of_unused_kernels(
    settings: Settings, hardware: Hardware, pairs: Pairs, crew: Crew, progress: Progress
) -> None:
    chosen, judged = settings.translator, settings.loss
    modules = (
        build_translator(chosen.name, pairs.text.shape[1], pairs.images.shape[1], chosen.options),
        build_loss(judged.name, judged.options),
    )
    shared = crew.together and not crew.is_one_process
    reason = why_without_kernels(settings.train, hardware, *modules, shared=shared)
    if reason is not None:
        progress.note(f"train.kernels changes nothing here: {reason}")


def _trained(crew: Crew, pairs: Pairs, folds: Folds, context: RunContext) -> list[MemberResult]:
    """The results of all members: those on disk, and the others trained now."""
    settings = context.settings
    results: dict[MemberTask, MemberResult | None] = {}
    for task in member_tasks(settings):
        result = results[task] = finished_member(context.folder / task.name)
        if result is not None:
            context.progress.note(f"{_words(task, settings)}: already trained{_score(result, ', ')}")
    unfinished = [task for task, result in results.items() if result is None]
    crew = crew.for_members(len(unfinished))
    if crew.is_one_process:
        for task in unfinished:
            results[task] = train_one(task, pairs, folds, context)
        return [result for result in results.values() if result is not None]
    names = [task.name for task in unfinished]
    job = Job(context.folder, pairs, folds, settings, dict(context.header), context.hardware, names, crew.together)
    train_in_parallel(job, crew, context.stop, context.progress)
    return [results[task] or _result_of_worker(context.folder / task.name) for task in results]


def _result_of_worker(folder: Path) -> MemberResult:
    result = finished_member(folder)
    if result is None:
        raise MissingError(
            f"the workers ended well, but {folder} is not complete",
            "all machines of a run must see the same project folder; kk train --resume goes on",
        )
    return result


def _words(task: MemberTask, settings: Settings) -> str:
    """``fold 1/5``, with the seed where there are several; ``refit 1/2``."""
    if task.fold is None:
        return f"refit {task.seed_number + 1}/{settings.train.refit}"
    seed = f" seed {task.seed_number + 1}/{settings.train.seeds}" if settings.train.seeds > 1 else ""
    return f"fold {task.fold + 1}/{settings.folds.count}{seed}"


def _score(result: MemberResult, before: str) -> str:
    """What a fold scored, with something ``before`` it; empty for a refit, which has no score."""
    return "" if result.mrr is None else f"{before}MRR {result.mrr:.4f} ± {result.error:.4f}"


def train_one(task: MemberTask, pairs: Pairs, folds: Folds, context: RunContext) -> MemberResult | None:
    """Train one member and tell of it; the result, None where another process of several has it.

    Raises:
        TrainingError: training diverged.
        InterruptedWork, KeyboardInterrupt: asked to stop; a later call goes on.
    """
    settings, progress, what = context.settings, context.progress, _words(task, context.settings)
    closed = translators[settings.translator.name].closed_form
    # a closed form keeps nothing of half its work
    if context.stop.before("prepare", *(("finish",) if closed else ("step", "save"))):
        context.stop.raise_stop(f"the start of {task.name}")
    data = _fold(pairs, folds, task.fold, settings)
    watch = progress.start(what, None if closed else planned_epochs(data, settings.train, task.seed), "epochs")
    with memory_told(what, settings.train.batch_size):
        result = train_member(task, data, context, watch)
    if result is not None:
        watch.finish(f"{what}:{_score(result, ' ') or ' trained'} in {result.seconds:.1f} s")
    return result


def _fold(pairs: Pairs, folds: Folds, number: int | None, settings: Settings) -> FoldData:
    if number is None:
        train, validation = all_captions(pairs), np.empty(0, np.int64)
    else:
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
        DataError: a member's predictions do not fit the folds or are not finite, or a caption would be predicted twice.
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
    again = f"kk train --resume {folder.name}"
    for number in range(settings.train.seeds):
        path = folder / MemberTask(fold, number, settings.train.seed).name / PREDICTIONS
        if not path.is_file():
            raise MissingError(f"no out-of-fold predictions at {path}", f"{again} trains what is missing")
        try:
            saved = np.load(path, allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise DataError(f"{path} is damaged: {error}", f"delete it, then {again}") from None
        if saved.shape != tuple(total.shape):
            raise DataError(
                f"{path} has shape {saved.shape}, the fold needs {tuple(total.shape)}", "train the run anew"
            )
        bad = int((~np.isfinite(saved).all(axis=1)).sum())
        if bad:
            verb = "is" if bad == 1 else "are"
            raise DataError(f"{path}: {bad} of {len(saved)} rows {verb} not finite", f"delete it, then {again}")
        total += unit(torch.from_numpy(saved))
    return unit(total)


def score_out_of_fold(oof: OutOfFold, pairs: Pairs, settings: Settings) -> OutOfFoldScores:
    """Score the captions that were held out among the images of their folds."""
    held_out = _held_out(oof, pairs)
    cosine, dot = (_in_galleries(held_out, settings, similarity) for similarity in ("cosine", "dot"))
    full = retrieval_scores(held_out.predictions, held_out.images, held_out.image_of_caption, groups=held_out.groups)
    return OutOfFoldScores(cosine, dot, full)


def gallery_score(oof: OutOfFold, pairs: Pairs, settings: Settings) -> GalleryScore:
    """The competition's score alone, of :func:`score_out_of_fold`."""
    return _in_galleries(_held_out(oof, pairs), settings, "cosine")


@dataclass(frozen=True)
class _HeldOut:
    """Captions that were held out, and the images among which they are scored.

    Attributes:
        predictions: (captions, d_image) float32.
        images: (images, d_image) float32.
        image_of_caption: (captions,) integer, places in ``images``.
        groups: (images,) integer, the images that may share a gallery.
    """

    predictions: Tensor
    images: Tensor
    image_of_caption: np.ndarray
    groups: np.ndarray


def _held_out(oof: OutOfFold, pairs: Pairs) -> _HeldOut:
    captions = np.flatnonzero(oof.covered)
    used, renumbered = np.unique(pairs.image_of_caption[captions], return_inverse=True)
    images = torch.from_numpy(np.ascontiguousarray(pairs.images[used]))
    return _HeldOut(oof.predictions[torch.from_numpy(captions)], images, renumbered, oof.fold_of_image[used])


def _in_galleries(held_out: _HeldOut, settings: Settings, similarity: str) -> GalleryScore:
    return gallery_mrr(
        held_out.predictions,
        held_out.images,
        held_out.image_of_caption,
        gallery_size=settings.competition.gallery_size,
        draws=settings.validation.draws,
        seed=settings.validation.seed,
        similarity=similarity,
        groups=held_out.groups,
    )
