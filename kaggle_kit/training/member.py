"""One member of a run: the translator of one fold and one seed, from nothing to files, or from where it stopped."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kaggle_kit import files
from kaggle_kit.config import Settings
from kaggle_kit.errors import DataError, MissingError, TrainingError
from kaggle_kit.metrics import retrieval_scores
from kaggle_kit.progress import Task
from kaggle_kit.training.checkpoints import save_translator
from kaggle_kit.training.fold import FoldData
from kaggle_kit.training.interrupts import StopRequest
from kaggle_kit.training.loop import GradientLoop
from kaggle_kit.training.precision import Hardware
from kaggle_kit.training.seeds import derive_seed
from kaggle_kit.translators import Translator, build_translator

WEIGHTS, PREDICTIONS, RESULT, STATE = "model.safetensors", "predictions.npy", "result.json", "state.safetensors"


@dataclass(frozen=True)
class MemberTask:
    """Which fold, and which of its seeds (counted from 0)."""

    fold: int
    seed_number: int
    run_seed: int

    @property
    def name(self) -> str:
        """The member's folder in the run."""
        return f"fold-{self.fold}-seed-{self.seed_number}"

    @property
    def seed(self) -> int:
        """What all its randomness derives from: the run's seed, the fold and the seed number, never the order of work."""
        return derive_seed(self.run_seed, "fold", self.fold, "seed", self.seed_number)


@dataclass(frozen=True)
class MemberResult:
    """What a finished member scored and cost; the content of its ``result.json``."""

    fold: int
    seed_number: int
    seed: int
    mrr: float
    error: float
    scores: dict[str, float]
    epochs: int
    best_epoch: int
    skipped_steps: int
    seconds: float
    samples_per_s: float
    parameters: int
    checkpoint_sha256: str
    predictions_sha256: str
    history: list[dict[str, float]]

    def to_dict(self) -> dict[str, Any]:
        """The record's shape."""
        return asdict(self)


def finished_member(folder: Path) -> MemberResult | None:
    """The result of a member whose files are all there, None when it has not finished."""
    try:
        result = MemberResult(**files.read_json(folder / RESULT))
    except (MissingError, TypeError, DataError):
        return None
    return result if (folder / WEIGHTS).is_file() and (folder / PREDICTIONS).is_file() else None


def train_member(
    task: MemberTask,
    data: FoldData,
    settings: Settings,
    hardware: Hardware,
    *,
    folder: Path,
    header: dict[str, Any],
    stop: StopRequest,
    watch: Task,
) -> MemberResult:
    """Train, predict the held-out captions, score, and write weights, predictions and result, the result last.

    Args:
        header: what the checkpoint says about its origin beside the translator's name and options.
        watch: told of every epoch.

    Raises:
        TrainingError: training diverged.
        InterruptedWork, KeyboardInterrupt: asked to stop; a later call with the same folder goes on.
    """
    started = time.perf_counter()
    devices = [torch.cuda.current_device()] if hardware.device == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(task.seed)
        translator = _prepared(data, settings, hardware, task.seed)
        loop = None
        if not translator.closed_form:
            loop = GradientLoop(
                translator,
                data,
                settings,
                hardware,
                seed=task.seed,
                state_path=folder / STATE,
                stop=stop,
                task=watch,
            )
            loop.run()
        elif stop:
            stop.raise_stop(task.name)
        with torch.no_grad():
            translator.eval().finish(data.fit_data(task.seed, hardware.device))
    predictions = translator.translate(data.text[data.validation])
    if not bool(torch.isfinite(predictions).all()):
        raise TrainingError(
            f"{task.name}: predictions are not finite", "lower the learning rate or raise the ridge strength"
        )
    return _write(task, data, settings, translator, predictions, loop, folder, header, started)


def _prepared(data: FoldData, settings: Settings, hardware: Hardware, seed: int) -> Translator:
    d_text, d_image = data.text.shape[1], data.images.shape[1]
    translator = build_translator(settings.translator.name, d_text, d_image, settings.translator.options)
    # mps has neither float64 nor eigendecompositions
    place = "cpu" if hardware.device == "mps" else hardware.device
    with torch.no_grad():
        translator.to(place).prepare(data.fit_data(seed, place))
    return translator.to(hardware.device)


def _write(
    task: MemberTask,
    data: FoldData,
    settings: Settings,
    translator: Translator,
    predictions: Tensor,
    loop: GradientLoop | None,
    folder: Path,
    header: dict[str, Any],
    started: float,
) -> MemberResult:
    half = predictions.half().cpu().numpy()
    files.write_npy(folder / PREDICTIONS, half)
    options = {"translator": settings.translator.name, "options": dict(settings.translator.options)}
    save_translator(folder / WEIGHTS, translator, {**header, **options, "fold": task.fold, "seed": task.seed})
    result = _result(task, data, settings, translator, torch.from_numpy(half).float(), loop, folder, started)
    files.write_json(folder / RESULT, result.to_dict())
    (folder / STATE).unlink(missing_ok=True)
    return result


def _result(
    task: MemberTask,
    data: FoldData,
    settings: Settings,
    translator: Translator,
    predictions: Tensor,
    loop: GradientLoop | None,
    folder: Path,
    started: float,
) -> MemberResult:
    """Scores are those of the float16 predictions as saved, so that they can be computed again from the file."""
    score = data.score(predictions, draws=settings.validation.draws, seed=settings.validation.seed)
    used, renumbered = data.image_of_caption[data.validation].unique(return_inverse=True)
    history = loop.position.history if loop else []
    seconds = sum(epoch["seconds"] for epoch in history)
    samples = sum(epoch["seconds"] * epoch["samples_per_s"] for epoch in history)
    return MemberResult(
        fold=task.fold,
        seed_number=task.seed_number,
        seed=task.seed,
        mrr=score.mrr,
        error=score.error,
        scores=retrieval_scores(predictions, data.images[used], renumbered.numpy()).to_dict(),
        epochs=len(history),
        best_epoch=loop.position.best_epoch if loop else 0,
        skipped_steps=loop.position.skipped if loop else 0,
        seconds=time.perf_counter() - started,
        samples_per_s=samples / seconds if seconds else 0.0,
        parameters=sum(tensor.numel() for tensor in translator.state_dict().values()),
        checkpoint_sha256=files.sha256_of(folder / WEIGHTS),
        predictions_sha256=files.sha256_of(folder / PREDICTIONS),
        history=history,
    )
