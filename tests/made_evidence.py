"""Predictions whose every figure can be computed again by a loop."""

from __future__ import annotations

import numpy as np

from kaggle_kit.analysis.evidence import Evidence
from kaggle_kit.embeddings.neighbours import unit_rows

WORDS = ("a dog runs", "two girls ride camels on a beach", "a boy", "the snow falls on an old mountain hut at night")


def make_evidence(images: int = 24, captions: int = 4, dimensions: int = 6, folds: int = 3, seed: int = 0) -> Evidence:
    """Noisy predictions of random images; image 1 is nearly image 0, and in its fold."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((images, dimensions)).astype(np.float32)
    fold = np.arange(images) % folds
    if images > folds:
        vectors[folds] = vectors[0] + 0.05
    image = np.repeat(np.arange(images), captions)
    noise = rng.standard_normal((len(image), dimensions))
    return Evidence(
        predictions=unit_rows(vectors[image] + 1.2 * noise),
        images=unit_rows(vectors),
        image=image.astype(np.int64),
        fold=fold.astype(np.int64),
        text=rng.standard_normal((len(image), 5)).astype(np.float32),
        captions=np.array([WORDS[row % len(WORDS)] for row in range(len(image))]),
        rows=np.arange(len(image)) + 100,
        number=np.tile(np.arange(1, captions + 1), images),
        names=np.array([f"{number}.jpg" for number in range(images)]),
    )


def gallery_of(evidence: Evidence, row: int) -> list[int]:
    """The images that a caption competes among, by a loop."""
    fold = evidence.fold[evidence.image[row]]
    return [number for number in range(len(evidence.names)) if evidence.fold[number] == fold]


def scores_of(evidence: Evidence, row: int) -> dict[int, float]:
    """The cosine of a caption's prediction to each image of its gallery, by a loop."""
    prediction = evidence.predictions[row].astype(np.float64)
    return {number: float(prediction @ evidence.images[number]) for number in gallery_of(evidence, row)}
