"""What the workers of a run are handed, in the run's folder: the data as arrays that all of them map, and what to train."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit import files
from kaggle_kit.config import Settings
from kaggle_kit.embeddings import DataFile, Folds, Pairs
from kaggle_kit.errors import MissingError
from kaggle_kit.training.precision import Hardware

FOLDER = "workers"
LEADS, JOINS = "leads", "joins"
"""What a machine does: it hands a job over, or takes part in that of another."""

_ARRAYS = ("text", "images", "image_of_caption", "weight")


@dataclass(frozen=True)
class Job:
    """Everything that a worker needs to train members of a run.

    Attributes:
        run: the run's folder.
        pairs: the training pairs, without words and names.
        header: what each checkpoint says about its origin.
        hardware: what the first machine computes with; device, precision and threads hold for all.
        unfinished: names of the members to train.
        together: whether all workers train one member at a time.
    """

    run: Path
    pairs: Pairs
    folds: Folds
    settings: Settings
    header: dict[str, Any]
    hardware: Hardware
    unfinished: list[str]
    together: bool

    @property
    def claims(self) -> Path:
        """Folder of the locks by which a worker takes a member."""
        return self.run / FOLDER / "claims"


@contextmanager
def handed_over(job: Job) -> Iterator[None]:
    """While the block runs, the job lies in the run's folder for workers to read.

    Raises:
        DiskFullError: there is no space for the copies of the arrays.
    """
    folder = job.run / FOLDER
    shutil.rmtree(folder, ignore_errors=True)  # of a process that was killed
    try:
        for name in _ARRAYS:
            if (array := getattr(job.pairs, name)) is not None:
                files.write_npy(folder / f"{name}.npy", array)
        job.folds.save(folder)
        files.write_json(folder / "job.json", _record(job))
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _record(job: Job) -> dict[str, Any]:
    return {
        "settings": job.settings.to_dict(),
        "header": job.header,
        "hardware": job.hardware.to_dict(),
        "own_images": job.pairs.own_images,
        "unfinished": job.unfinished,
        "together": job.together,
    }


def read_job(run: Path) -> Job:
    """The job in a run's folder, its arrays mapped into memory: workers of one machine share the pages.

    Raises:
        MissingError: there is none.
    """
    folder = run / FOLDER
    try:
        record = files.read_json(folder / "job.json")
    except MissingError:
        raise MissingError(
            f"no job for workers in {folder}", "all machines of a run must see the same project folder"
        ) from None
    weight, nothing = folder / "weight.npy", np.empty(0)
    return Job(
        run=run,
        pairs=Pairs(
            text=_mapped(folder / "text.npy"),
            images=_mapped(folder / "images.npy"),
            image_of_caption=_mapped(folder / "image_of_caption.npy"),
            weight=_mapped(weight) if weight.is_file() else None,
            caption_ids=nothing,
            captions=nothing,
            image_names=nothing,
            file=DataFile(folder / "text.npy", 0, ""),
            own_images=record["own_images"],
        ),
        folds=Folds.load(folder),
        settings=Settings.from_dict(record["settings"]),
        header=record["header"],
        hardware=Hardware(**record["hardware"]),
        unfinished=record["unfinished"],
        together=record["together"],
    )


def _mapped(path: Path) -> np.ndarray:
    """An array on disk; pages are copied only where they are written to."""
    return np.load(path, mmap_mode="c", allow_pickle=False)
