"""Training runs and ensembles of them: ``models_archive/<run>/run.json``, beside the checkpoints that it lists."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from kaggle_kit.archive.fields import Field, Number, Types
from kaggle_kit.archive.migrations import Migrations
from kaggle_kit.archive.records import Record, RecordStore
from kaggle_kit.errors import DataError

RUN_MIGRATIONS = Migrations("run")

RUN_STATES = ("running", "interrupted", "done", "pruned", "failed")

MEMBER: Mapping[str, Types] = {"run": str, "weight": Number, "cv": Number, "alone": Number, "adds": Number}
BASIS: Mapping[str, Types] = {
    "gallery_size": int, "train_sha256": str, "folds": int, "folds_by": str, "folds_digest": str, "captions": Number,
}  # fmt: skip
PROVENANCE: Mapping[str, Types] = {"git": dict, "versions": dict, "platform": dict, "argv": list}

SECTIONS = ("competition", "data", "folds", "translator", "loss", "train", "validation", "submit")
DATA: Mapping[str, Types] = {"captions": int, "images": int, "train_sha256": str, "train_file": str, "report": dict}
FOLDS: Mapping[str, Types] = {"count": int, "by": str, "digest": str, "seed": int}
TRIAL: Mapping[str, Types] = {"name": str, "id": str, "trial": int, "params": dict}
SCORES: Mapping[str, Types] = dict.fromkeys(
    ("mrr", "error", "cosine", "full_mrr", "median_rank", "ndcg", "recall_at_1", "recall_at_5", "recall_at_10"), Number
) | {"gallery_size": int, "images": int, "draws": int}
FOLD_SCORES: Mapping[str, Types] = {"fold": int, "seed": int, "mrr": Number, "error": Number}
CHECKPOINT: Mapping[str, Types] = {"fold": int, "seed": int, "file": str, "sha256": str}
HARDWARE: Mapping[str, Types] = {"device": str, "precision": str, "threads": int, "workers": int}

RUN_FIELDS = {
    "id": Field(str, "the folder's name", required=True),
    "kind": Field(str, "run: folds trained here; ensemble: other runs averaged", "run", required=True),
    "name": Field(str, "what the user called it", ""),
    "competition": Field(str, "slug", required=True),
    "rehearsal": Field(bool, "played against a rehearsal server, not the real competition", False, required=True),
    "created": Field(str, "ISO 8601, UTC", required=True, moment=True),
    "state": Field(str, " | ".join(RUN_STATES), "running", required=True),
    "translator": Field(str, "name; of an ensemble, those of its members"),
    "loss": Field(str, "name"),
    "plugins": Field(dict, "of the project's own translator and loss: file and sha256; copies lie in plugins/", {}),
    "config": Field(dict, "every setting as resolved", inside=dict.fromkeys(SECTIONS, dict)),
    "config_digest": Field(str, "hash of config"),
    "data": Field(dict, "train and test file: name, sha256, size; counts; cleaning report", {}, inside=DATA),
    "folds": Field(dict, "count, by (images at random, or text_clusters), digest, seed", {}, inside=FOLDS),
    "leaks": Field(dict, "what stands on both sides of the folds, where that was allowed: counts, folds, examples"),
    "seeds": Field(int, "how many seeds each fold was trained with"),
    "refit": Field(int, "translators trained on all images, besides those of the folds"),
    "sweep": Field(
        dict, "of a trial: the sweep's name and id, the number of the trial, the values tried (params)", inside=TRIAL
    ),
    "members": Field(list, "of an ensemble: run and weight each", [], inside=MEMBER),
    "left_out": Field(list, "of an ensemble: runs that were considered and got no weight", []),
    "selection": Field(dict, "of an ensemble: what its weights are worth on images that did not choose them", {}),
    "cv": Field(dict, "out-of-fold scores: mrr, error, …", inside=SCORES),
    "fold_scores": Field(list, "scores of each fold", [], inside=FOLD_SCORES),
    "checkpoints": Field(list, "fold (none: a refit), file (relative to the folder), sha256", [], inside=CHECKPOINT),
    "seconds": Field(Number, "wall time of training"),
    "train_seconds": Field(Number, "seconds of training, all members together"),
    "failure": Field(str, "why it failed"),
    "provenance": Field(dict, "git, versions, platform, argv", {}, inside=PROVENANCE),
    "hardware": Field(dict, "device, precision, threads", {}, inside=HARDWARE),
}


class RunStore(RecordStore):
    """The runs of a project."""

    kind: ClassVar[str] = "run"
    file_name: ClassVar[str] = "run.json"
    command: ClassVar[str] = "kk runs list"
    fields: ClassVar = RUN_FIELDS
    listed: ClassVar[tuple[str, ...]] = (
        "competition", "rehearsal", "kind", "name", "translator", "loss", "folds", "seeds", "refit", "members", "cv", "leaks",
        "train_seconds", "sweep", "failure", "data.train_sha256", "data.captions", "data.images",
    )  # fmt: skip
    migrations: ClassVar[Migrations] = RUN_MIGRATIONS

    def _how_to_make_one(self) -> str:
        return "kk train makes one"

    def checkpoints(self, run: Record) -> list[tuple[Path, str]]:
        """The checkpoint files of ``run``, there or not, each with the SHA-256 that it should have.

        Raises:
            DataError: a file outside the run's folder.
        """
        return [(inside(run.folder, entry["file"]), entry["sha256"]) for entry in run["checkpoints"]]


def basis_of(run: Mapping[str, Any]) -> dict[str, Any]:
    """On what a run's CV was measured, as far as its record (or its listed fields) tells: what makes two CVs comparable."""
    cv, folds = run["cv"] or {}, run["folds"] or {}
    data = run.get("data") or {name: run.get(f"data.{name}") for name in ("train_sha256", "captions", "images")}
    captions, images = data.get("captions"), data.get("images")
    return {
        "gallery_size": cv.get("gallery_size"),
        "train_sha256": data.get("train_sha256"),
        "folds": folds.get("count"),
        "folds_by": folds.get("by"),
        "folds_digest": folds.get("digest"),
        "captions": round(captions / images, 3) if captions and images else None,
    }


def inside(folder: Path, name: str) -> Path:
    """The file ``name`` in ``folder``.

    Raises:
        DataError: it would lie elsewhere.
    """
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()) or path == folder:
        raise DataError(f"{name!r} is outside {folder}")
    return path
