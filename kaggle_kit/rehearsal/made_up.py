"""Write a made-up competition's files, up to the real one's size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from kaggle_kit.competition import CompetitionFiles
from kaggle_kit.embeddings import generate_competition
from kaggle_kit.errors import UsageError, storage_errors
from kaggle_kit.progress import SILENCE, Progress

CAPTIONS, IMAGES, TEST, TEXT_DIM, IMAGE_DIM = 125_000, 25_000, 1_500, 1024, 1536
"""The real competition's sizes."""


@dataclass(frozen=True)
class WrittenCompetition:
    """A made-up competition on disk: its folder, and the bytes of each file by name."""

    folder: Path
    files: dict[str, int]


def write_competition(
    folder: Path,
    *,
    captions: int = CAPTIONS,
    images: int = IMAGES,
    seed: int = 0,
    progress: Progress = SILENCE,
) -> WrittenCompetition:
    """Write the files of a made-up competition in the real one's layout and dimensions, without holding them in memory.

    Args:
        folder: a new or empty folder.
        captions: training captions.
        images: training images.
        seed: another seed, another world.

    Raises:
        UsageError: the folder is not empty or cannot be written to, or the numbers make no sense.
        DiskFullError: no space left.
    """
    with storage_errors(folder, "writing"):
        if folder.exists() and any(folder.iterdir()):
            raise UsageError(f"{folder} is not empty", "name a new folder")
    names = CompetitionFiles()
    generate_competition(
        folder, captions=captions, images=images, text_dim=TEXT_DIM, image_dim=IMAGE_DIM, test=TEST, seed=seed,
        files=names, progress=progress,
    )  # fmt: skip
    written = [name for name in (names.train, names.test, names.test_captions) if name is not None]
    return WrittenCompetition(folder, {name: (folder / name).stat().st_size for name in written})
