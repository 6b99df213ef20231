"""One member of a run: the translator of one fold and one seed, from nothing to files, or from where it stopped."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kaggle_kit import files
from kaggle_kit.config import Settings
from kaggle_kit.errors import DataError, MissingError, TrainingError
from kaggle_kit.metrics import retrieval_scores
from kaggle_kit.progress import Task
from kaggle_kit.training.checkpoints import save_translator
from kaggle_kit.training.context import RunContext
from kaggle_kit.training.fold import FoldData
from kaggle_kit.training.loop import GradientLoop, Position
from kaggle_kit.training.precision import Hardware
from kaggle_kit.training.seeds import derive_seed
from kaggle_kit.training.state import StateFiles
from kaggle_kit.translators import Translator, build_translator, translators

WEIGHTS, PREDICTIONS, RESULT = "model.safetensors", "predictions.npy", "result.json"

LOOKED_AT = 256
"""Training captions by which a refit, which holds none out, is looked at before it counts as finished."""


@dataclass(frozen=True)
class MemberTask:
    """Which fold is held out (None: nothing is, a refit on all images), and which of its seeds this is (counted from 0)."""

    fold: int | None
    seed_number: int
    run_seed: int

    @property
    def name(self) -> str:
        """The member's folder in the run."""
        return f"{'refit' if self.fold is None else f'fold-{self.fold}'}-seed-{self.seed_number}"

    @property
    def seed(self) -> int:
        """What all its randomness derives from: the run's seed, the fold and the seed number, never the order of work."""
        part = ("refit",) if self.fold is None else ("fold", self.fold)
        return derive_seed(self.run_seed, *part, "seed", self.seed_number)


@dataclass(frozen=True)
class MemberResult:
    """What a finished member scored and cost; the content of its ``result.json``. A refit held nothing out: it has no score."""

    fold: int | None
    seed_number: int
    seed: int
    mrr: float | None
    error: float | None
    scores: dict[str, float]
    epochs: int
    best_epoch: int
    skipped_steps: int
    seconds: float
    samples_per_s: float
    parameters: int
    checkpoint_sha256: str
    predictions_sha256: str | None
    history: list[dict[str, float]]
    planned_epochs: int | None = None
    """Of a network: where it ends unless something ends it before; None in results of older versions."""

    def to_dict(self) -> dict[str, Any]:
        """The record's shape."""
        return asdict(self)


def member_result(folder: Path) -> MemberResult | None:
    """The result of a member, whatever became of its weights since; None when it has not finished."""
    try:
        return MemberResult(**files.read_json(folder / RESULT))
    except (MissingError, TypeError, DataError):
        return None


def finished_member(folder: Path) -> MemberResult | None:
    """The result of a member whose files are all there, None when it has not finished."""
    result = member_result(folder)
    if result is None:
        return None
    needed = [WEIGHTS] if result.fold is None else [WEIGHTS, PREDICTIONS]
    return result if all((folder / name).is_file() for name in needed) else None


def train_member(task: MemberTask, data: FoldData, context: RunContext, watch: Task) -> MemberResult | None:
    """Train, predict the held-out captions, score, and write weights, predictions and result, the result last.

    Args:
        watch: told of every epoch.

    Returns:
        The result; None in a process that trained it with others and does not lead them.

    Raises:
        TrainingError: training diverged.
        InterruptedWork, KeyboardInterrupt: asked to stop; a later call with the same folder goes on.
    """
    started = time.perf_counter()
    folder, stop = context.folder / task.name, context.stop
    states = StateFiles(folder, margin_mb=context.settings.train.disk_margin_mb, note=context.progress.note)
    with _seeded(task, context.hardware):
        with stop.timed("prepare"):
            translator = _prepared(task, data, context)
            context.collective.prepare(translator)
            loop = None
            if not translator.closed_form:
                loop = GradientLoop(translator, data, context, seed=task.seed, states=states, task=watch)
        if loop is not None:
            loop.run()
        if stop.before("finish"):
            if loop is not None:
                loop.save_state()
            stop.raise_stop(task.name)
        if not context.collective.leads:
            return None
        with stop.timed("finish"):
            _finish(task, translator, data, context.hardware)
            if task.fold is None:
                _predicted(task, translator, data, data.train[:LOOKED_AT])
            else:
                held_out = _predicted(task, translator, data, data.validation)
                files.write_npy(folder / PREDICTIONS, held_out.half().cpu().numpy())
            _write_weights(folder, task, translator, context)
            result = _result(folder, task, data, translator, loop, context.settings, started)
            files.write_json(folder / RESULT, result.to_dict())
    states.remove()
    return result


@contextmanager
def _seeded(task: MemberTask, hardware: Hardware) -> Iterator[None]:
    """Torch's global generators start from the member's seed, and are as before afterwards."""
    devices = [torch.cuda.current_device()] if hardware.device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(task.seed)
        yield


def _prepared(task: MemberTask, data: FoldData, context: RunContext) -> Translator:
    d_text, d_image = data.text.shape[1], data.images.shape[1]
    chosen, device = context.settings.translator, context.hardware.device
    translator = build_translator(chosen.name, d_text, d_image, chosen.options)
    # mps has neither float64 nor eigendecompositions
    place = "cpu" if device == "mps" else device
    with torch.no_grad():
        translator.to(place).prepare(data.fit_data(task.seed, place))
    return translator.to(device)


def _finish(task: MemberTask, translator: Translator, data: FoldData, hardware: Hardware) -> None:
    with torch.no_grad():
        translator.eval().finish(data.fit_data(task.seed, hardware.device))


def _predicted(task: MemberTask, translator: Translator, data: FoldData, captions: torch.Tensor) -> torch.Tensor:
    """(n, d_image) predictions of the finished translator for (n,) caption rows.

    Raises:
        TrainingError: some are not finite.
    """
    predictions = translator.translate(data.text[captions])
    if not bool(torch.isfinite(predictions).all()):
        raise TrainingError(
            f"{task.name}: predictions are not finite", "lower the learning rate or raise the ridge strength"
        )
    return predictions


def _write_weights(folder: Path, task: MemberTask, translator: Translator, context: RunContext) -> None:
    chosen = context.settings.translator
    origin = {"translator": chosen.name, "options": dict(chosen.options), "fold": task.fold, "seed": task.seed}
    plugin = translators.entry(chosen.name).plugin
    own = {"plugin": plugin.to_dict()} if plugin is not None else {}
    save_translator(folder / WEIGHTS, translator, {**context.header, **origin, **own})


@dataclass(frozen=True)
class _HeldOutScores:
    """What a member's saved predictions score; nothing for a refit."""

    mrr: float | None = None
    error: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    sha256: str | None = None


def _scored(folder: Path, data: FoldData, settings: Settings) -> _HeldOutScores:
    """Scores are those of the float16 predictions as saved, so that they can be computed again from the file."""
    predictions = torch.from_numpy(np.load(folder / PREDICTIONS, allow_pickle=False)).float()
    score = data.score(predictions, draws=settings.validation.draws, seed=settings.validation.seed)
    scores = retrieval_scores(predictions, data.held_out.images, data.held_out.image_of_caption).to_dict()
    return _HeldOutScores(score.mrr, score.error, scores, files.sha256_of(folder / PREDICTIONS))


def _result(
    folder: Path,
    task: MemberTask,
    data: FoldData,
    translator: Translator,
    loop: GradientLoop | None,
    settings: Settings,
    started: float,
) -> MemberResult:
    held_out = _HeldOutScores() if task.fold is None else _scored(folder, data, settings)
    position = loop.position if loop else Position()
    seconds = sum(epoch["seconds"] for epoch in position.history)
    samples = sum(epoch["seconds"] * epoch["samples_per_s"] for epoch in position.history)
    return MemberResult(
        fold=task.fold,
        seed_number=task.seed_number,
        seed=task.seed,
        mrr=held_out.mrr,
        error=held_out.error,
        scores=held_out.scores,
        epochs=len(position.history),
        best_epoch=position.best_epoch,
        skipped_steps=position.skipped,
        seconds=time.perf_counter() - started + (loop.earlier_s if loop else 0.0),
        samples_per_s=samples / seconds if seconds else 0.0,
        parameters=sum(tensor.numel() for tensor in translator.state_dict().values()),
        checkpoint_sha256=files.sha256_of(folder / WEIGHTS),
        predictions_sha256=held_out.sha256,
        history=position.history,
        planned_epochs=loop.epochs if loop else None,
    )
