"""Small training and test files in the competition's layout, written by NumPy itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kaggle_kit.embeddings import DataFile, Pairs

IMAGES, EACH, TEXT_DIM, IMAGE_DIM = 40, 5, 8, 12


def train_arrays(images: int = IMAGES, each: int = EACH, seed: int = 0) -> dict[str, np.ndarray]:
    """The arrays of a training file by key."""
    rng = np.random.default_rng(seed)
    captions = images * each
    label = np.zeros((captions, images), bool)
    label[np.arange(captions), np.repeat(np.arange(images), each)] = True
    return {
        "metadata/num_captions": np.array([captions]),
        "metadata/num_images": np.array([images]),
        "captions/ids": np.arange(1, captions + 1),
        "captions/text": np.array([f"caption {row} of a picture" for row in range(captions)]),
        "captions/embeddings": rng.standard_normal((captions, TEXT_DIM), dtype=np.float32),
        "captions/label": label,
        "images/names": np.array([f"{number}.jpg" for number in rng.permutation(images)]),
        "images/embeddings": rng.standard_normal((images, IMAGE_DIM), dtype=np.float32),
    }


@pytest.fixture
def arrays() -> dict[str, np.ndarray]:
    """The arrays of a training file of 40 images with 5 captions each."""
    return train_arrays()


@pytest.fixture
def test_arrays() -> dict[str, np.ndarray]:
    """The arrays of a test file of 30 captions."""
    rng = np.random.default_rng(1)
    return {
        "captions/ids": np.arange(1, 31),
        "captions/text": np.array([f"test caption {row}" for row in range(30)]),
        "captions/embeddings": rng.standard_normal((30, TEXT_DIM), dtype=np.float32),
    }


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write arrays as ``tmp_path/NAME`` with NumPy; ``changes`` replace arrays, None removes them."""

    def write_npz(
        arrays: dict[str, np.ndarray],
        changes: dict[str, Any] | None = None,
        *,
        name: str = "train.npz",
        compress: bool = True,
    ) -> Path:
        kept = {key: value for key, value in {**arrays, **(changes or {})}.items() if value is not None}
        path = tmp_path / name
        (np.savez_compressed if compress else np.savez)(path, **kept)
        return path

    return write_npz


@pytest.fixture
def pairs() -> Pairs:
    """The same data in memory."""
    made = train_arrays()
    return Pairs(
        text=made["captions/embeddings"],
        images=made["images/embeddings"],
        image_of_caption=made["captions/label"].argmax(axis=1).astype(np.int32),
        caption_ids=made["captions/ids"],
        captions=made["captions/text"],
        image_names=made["images/names"],
        file=DataFile(Path("train.npz"), 1, "0" * 64),
    )


class Notes:
    """A ``Progress`` that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def start(self, what: str, total: float | None = None, unit: str = "") -> Notes:
        return self

    def update(self, done: float, **figures: object) -> None:
        pass

    def finish(self, summary: str = "") -> None:
        pass

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def notes() -> Notes:
    """A listener to the library's notes."""
    return Notes()
