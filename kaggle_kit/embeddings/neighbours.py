"""Nearest neighbours by cosine, in blocks that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK_ROWS = 1024
SKETCH_WIDTH = 96
SKETCH_SEED = 20261123
# A sketch of 96 dimensions estimates cosines near 1 to within about a tenth of their distance from 1; four times the
# distance is safe.
SKETCH_SLACK = 4.0


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length, (n, d) float32; rows of zeros stay."""
    rows = np.asarray(rows, np.float32)
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64)).astype(np.float32)
    return rows / np.where(norms > 0, norms, 1)[:, None]


def nearest_cosines(rows: np.ndarray, others: np.ndarray, *, skip_self: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """For each row its nearest other row.

    Args:
        rows: (n, d) float.
        others: (m, d) float.
        skip_self: ``rows`` are the first rows of ``others``; a row is not its own neighbour.

    Returns:
        cosine (n,) float32 and row in ``others`` (n,) int64.
    """
    best, where = np.empty(len(rows), np.float32), np.empty(len(rows), np.int64)
    targets = unit_rows(others)
    for first, block in _blocks(rows):
        cosines = unit_rows(block) @ targets.T  # (block, m)
        if skip_self:
            cosines[np.arange(len(block)), first + np.arange(len(block))] = -2
        where[first : first + len(block)] = cosines.argmax(axis=1)
        best[first : first + len(block)] = cosines.max(axis=1)
    return best, where


def find_near_copies(rows: np.ndarray, others: np.ndarray, cosine: float) -> np.ndarray:
    """Which rows have a row among ``others`` of at least that cosine; (n,) bool.

    A random projection to few dimensions names candidates, which are then compared in full: a tenth of the work of
    comparing all with all.
    """
    found = np.zeros(len(rows), bool)
    if not len(rows) or not len(others):
        return found
    here, there = unit_rows(rows), unit_rows(others)
    width = here.shape[1]
    project = np.random.default_rng(SKETCH_SEED).standard_normal((width, SKETCH_WIDTH)).astype(np.float32)
    here_sketch, there_sketch = (
        (here, there) if width <= SKETCH_WIDTH else (unit_rows(here @ project), unit_rows(there @ project))
    )
    bound = 1 - SKETCH_SLACK * (1 - cosine) if width > SKETCH_WIDTH else cosine
    for first, block in _blocks(here_sketch):
        near, candidate = np.nonzero(block @ there_sketch.T >= bound)
        exact = np.einsum("nd,nd->n", here[first + near], there[candidate])
        found[first + near[exact >= cosine - 1e-6]] = True
    return found


def _blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for first in range(0, len(rows), BLOCK_ROWS):
        yield first, rows[first : first + BLOCK_ROWS]
