"""Predict the test captions with a run or an ensemble, and write the submission file, without any network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.archive import Record, RunStore
from kaggle_kit.cells import facts_table
from kaggle_kit.config import Project
from kaggle_kit.embeddings import TestCaptions
from kaggle_kit.errors import DataError, MissingError
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.submission import WrittenFile, write_submission
from kaggle_kit.workflow.data import read_test, require_embeddings


@dataclass(frozen=True)
class TestPrediction:
    """Vectors for every test caption, and the run or ensemble that they come from.

    Attributes:
        captions: the test captions.
        vectors: (n, d_image) float32 unit vectors, row by row those of ``captions.ids``.
        record: of the run or ensemble.
        members: the runs averaged, with their weights.
    """

    __test__ = False

    captions: TestCaptions
    vectors: np.ndarray
    record: Record
    members: list[dict[str, Any]]


@dataclass(frozen=True)
class PredictedFile:
    """A submission file on disk and what it was made of."""

    file: WrittenFile
    run: str
    members: list[dict[str, Any]]
    rows: int
    dimension: int
    cv: float | None
    cv_error: float | None
    digits_loss: dict[str, Any] | None = None

    def _repr_html_(self) -> str:
        """What was written, for a notebook."""
        cv = None if self.cv is None else f"{self.cv:.4f} ± {self.cv_error or 0:.4f}"
        return facts_table(
            {"file": self.file.path, "rows": self.rows, "dimension": self.dimension, "run": self.run, "cv": cv}
        )


def finished_run(project: Project, target: str | None) -> Record:
    """The record of a finished run or ensemble; the newest when ``target`` is None.

    Raises:
        MissingError: there is no such run, or it has not finished.
    """
    if target is None:
        return finished_runs(project)[0]
    record = RunStore(project.models_dir).load(target)
    if record.state != "done":
        raise MissingError(
            f"run {record.id} has not finished (state: {record.state})", f"kk train --resume {record.id}"
        )
    return record


def share_of(record: Record) -> float:
    """The share of the training images that a run was trained on: below 1 for the points of a learning curve."""
    return float(((record["config"] or {}).get("data") or {}).get("share", 1.0))


def _preference(record: Record) -> tuple[bool, float]:
    """What is sorted by, the least first, before the date."""
    return share_of(record) < 1, 1.0 - (record.cv or 0.0) if record["sweep"] else 0.0


def finished_runs(project: Project) -> list[Record]:
    """The finished runs of the project's competition, at least one, the newest first; the archive may hold those of others.

    One on all data comes before points of a learning curve, one of its own before trials of a sweep, and of trials the best.
    """
    store, competition = RunStore(project.models_dir), project.settings.competition
    own = store.list(where=lambda one: one.belongs_to(competition))
    finished = sorted((record for record in own if record.state == "done"), key=_preference)
    if finished:
        return finished
    if own:
        raise MissingError(
            f"no run of {competition.slug} has finished; {own[0].id} was stopped or failed (state: {own[0].state})",
            f"kk train --resume {own[0].id}",
        )
    raise MissingError(f"there is no run yet in {store.folder}", "kk train makes one")


def _newest(project: Project, progress: Progress) -> Record:
    """The newest finished run; it is said where that is not the one with the best CV."""
    finished, size = finished_runs(project), project.settings.competition.gallery_size
    newest = finished[0]
    best = max((one for one in finished if one.comparable(size)), key=lambda one: one.standing(size), default=newest)
    if newest.cv is not None and best.cv is not None and best.standing(size) > newest.standing(size):
        galleries = "" if newest.gallery_size in (size, None) else f", in galleries of {newest.gallery_size}"
        progress.note(
            f"the newest run, {newest.id} (CV {newest.cv:.4f}{galleries}), is taken; {best.id} has {best.cv:.4f}"
        )
    return newest


def members_of(record: Record) -> list[dict[str, Any]]:
    """The runs that a run or ensemble averages, with weights that sum to 1."""
    members = record.get("members") or [{"run": record.id, "weight": 1.0}]
    total = sum(member["weight"] for member in members)
    return [{"run": member["run"], "weight": member["weight"] / total} for member in members]


def predict_test(project: Project, target: str | None, *, progress: Progress = SILENCE) -> TestPrediction:
    """Vectors for the test captions: every checkpoint of every run, unit vectors averaged.

    Raises:
        MissingError: no such run, checkpoint or test file.
        DataError: test captions and checkpoints do not fit each other.
    """
    require_embeddings(project.settings.competition)
    record = _newest(project, progress) if target is None else finished_run(project, target)
    captions = read_test(project, progress=progress)
    members = members_of(record)
    return TestPrediction(
        captions, predict_members(project, members, captions.text, progress=progress), record, members
    )


def predict_members(
    project: Project, members: Sequence[dict[str, Any]], text: np.ndarray, *, progress: Progress = SILENCE
) -> np.ndarray:
    """(n, d_image) float32 unit vectors: the weighted mean of the runs' predictions for (n, d_text) embeddings."""
    from kaggle_kit.ensemble import combine, predict_checkpoints
    from kaggle_kit.training.precision import choose_hardware

    train = project.settings.train
    device = choose_hardware(train.device, "fp32", train.threads).device
    store = RunStore(project.models_dir)
    watch = progress.start("predicting", len(members), "runs")
    predictions = []
    for number, member in enumerate(members, 1):
        record = store.load(member["run"])
        try:
            predictions.append(predict_checkpoints(record.folder, record["checkpoints"], text, device=device))
        except MissingError as error:  # pruned, most likely
            raise MissingError(error.message, f"kk train --resume {record.id} trains what is missing") from None
        watch.update(number)
    watch.finish()
    if len({vectors.shape for vectors in predictions}) > 1:
        raise DataError("the runs predict vectors of different dimensions", "ensemble runs of one competition only")
    return combine(predictions, [member["weight"] for member in members]).numpy()


def predict(
    project: Project,
    target: str | None = None,
    output: Path | str = Path("submission.csv"),
    *,
    digits: int | None = None,
    progress: Progress = SILENCE,
) -> PredictedFile:
    """Write the submission file of a run or ensemble: byte for byte the file that ``kk submit`` would send.

    Args:
        target: id of a run or ensemble, or the unique beginning of one; the newest finished run when None.
        output: where to write; ``.zip`` and ``.gz`` are compressed.
        digits: significant digits; the project's setting when None.
    """
    from kaggle_kit.workflow.digits import measure_digits

    prediction = predict_test(project, target, progress=progress)
    digits = digits if digits is not None else project.settings.submit.digits
    file = write_submission(
        Path(output),
        prediction.captions.ids,
        prediction.vectors,
        project.settings.competition.submission,
        digits=digits,
    )
    return PredictedFile(
        file=file,
        run=prediction.record.id,
        members=prediction.members,
        rows=len(prediction.vectors),
        dimension=prediction.vectors.shape[1],
        cv=prediction.record.cv,
        cv_error=prediction.record.cv_error,
        digits_loss=measure_digits(project, prediction.members, digits, progress=progress),
    )
