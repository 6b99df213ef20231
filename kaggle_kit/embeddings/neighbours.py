"""Nearest neighbours by cosine, in blocks that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BLOCK_ROWS = 1024
SKETCH_WIDTH = 96
SKETCH_SEED = 20261123
# A sketch of 96 dimensions gives 1 - cosine to within about 15 %: twice the distance is six deviations away.
SKETCH_SLACK = 2.0
MANY = 16
ROUNDING = 2e-6


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to unit length, (n, d) float32; rows of zeros stay."""
    rows = np.asarray(rows, np.float32)
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64)).astype(np.float32)
    return rows / np.where(norms > 0, norms, 1)[:, None]


def sum_units(rows: np.ndarray, index: np.ndarray, count: int) -> np.ndarray:
    """Sums of the unit rows of each number in ``index`` (n,) integer: (count, d) float32, zeros for a number that has none."""
    sums = np.zeros((count, rows.shape[1]), np.float32)
    for first, block in _blocks(rows):
        numbers = index[first : first + len(block)]
        order = np.argsort(numbers, kind="stable")
        present, starts = np.unique(numbers[order], return_index=True)
        sums[present] += np.add.reduceat(unit_rows(block)[order], starts, axis=0)
    return sums


def nearest_cosines(
    rows: np.ndarray, others: np.ndarray, *, group: np.ndarray | None = None, other_group: np.ndarray | None = None
) -> np.ndarray:
    """The cosine of each row to its nearest other row, (n,) float32.

    Args:
        rows: (n, d) float.
        others: (m, d) float.
        group: (n,) integer; rows of the same number as in ``other_group`` are no neighbours. None: all are.
        other_group: (m,) integer.
    """
    best = np.empty(len(rows), np.float32)
    targets = unit_rows(others)
    for first, block in _blocks(rows):
        cosines = unit_rows(block) @ targets.T  # (block, m)
        if group is not None:
            cosines[group[first : first + len(block), None] == other_group] = -1
        best[first : first + len(block)] = cosines.max(axis=1)
    return best


def find_near_copies(rows: np.ndarray, others: np.ndarray, cosine: float) -> np.ndarray:
    """Which rows have a row among ``others`` of at least that cosine; (n,) bool.

    A random projection to few dimensions names candidates, which are then compared in full: a tenth of the work of
    comparing all with all. ``rows`` may be the longer of the two: only a block of it is held at a time.
    """
    found = np.zeros(len(rows), bool)
    if not len(others):
        return found
    there = unit_rows(others)
    project = np.random.default_rng(SKETCH_SEED).standard_normal((there.shape[1], SKETCH_WIDTH)).astype(np.float32)
    there_sketch = unit_rows(there @ project)
    for first, block in _blocks(rows):
        here = unit_rows(block)
        near, candidate = np.nonzero(unit_rows(here @ project) @ there_sketch.T >= 1 - SKETCH_SLACK * (1 - cosine))
        if len(near) > MANY * len(block):
            found[first : first + len(block)] = (here @ there.T).max(axis=1) >= cosine - ROUNDING
            continue
        exact = np.einsum("nd,nd->n", here[near], there[candidate])
        found[first + near[exact >= cosine - ROUNDING]] = True
    return found


def near_copy_pairs(rows: np.ndarray, cosine: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of rows, each once, whose cosine is at least that; two (pairs,) int64 arrays, the earlier row first.

    Candidates are named by a random projection, as in :func:`find_near_copies`. Where a block has very many of them (everything looks
    alike), it is compared in full, and a row is paired with its first few near copies, and with those of the others that join what the
    pairs before had not joined: chains of pairs lead to the same rows as chains of all near copies.
    """
    together = np.arange(len(rows))
    project = np.random.default_rng(SKETCH_SEED).standard_normal((rows.shape[1], SKETCH_WIDTH)).astype(np.float32)
    sketch = np.concatenate([unit_rows(unit_rows(block) @ project) for _, block in _blocks(rows)])
    earlier, later = [], []
    for first, block in _blocks(rows):
        last = first + len(block)
        here, candidate = np.nonzero(sketch[first:last] @ sketch[:last].T >= 1 - SKETCH_SLACK * (1 - cosine))
        before = candidate < here + first
        here, candidate = here[before], candidate[before]
        if len(here) > MANY * len(block):
            here, candidate = _crowded(rows, first, last, cosine, together)
        else:
            alike = np.einsum("nd,nd->n", unit_rows(block[here]), unit_rows(rows[candidate])) >= cosine - ROUNDING
            here, candidate = here[alike], candidate[alike]
        earlier.append(candidate)
        later.append(here + first)
    return np.concatenate(earlier).astype(np.int64), np.concatenate(later).astype(np.int64)


def _crowded(
    rows: np.ndarray, first: int, last: int, cosine: float, together: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The first few near copies of each of ``rows[first:last]`` among the rows before it, and those that join what was apart.

    Args:
        together: (n,) int64, the same number for rows that pairs join; brought up to date.

    Returns:
        places in the block, and rows.
    """
    block = unit_rows(rows[first:last])
    near = np.concatenate(
        [block @ unit_rows(others).T >= cosine - ROUNDING for _, others in _blocks(rows[:last])], axis=1
    )
    near &= np.arange(last) < np.arange(first, last)[:, None]
    few = near & (np.cumsum(near, axis=1, dtype=np.int32) <= MANY)
    found = [np.nonzero(few)]
    _join(together, found[0][0] + first, found[0][1])
    for start, _ in _blocks(rows[:last]):
        span = slice(start, start + BLOCK_ROWS)
        here, candidate = np.nonzero(near[:, span] & ~few[:, span])
        new = _join(together, here + first, candidate + start)
        found.append((here[new], candidate[new] + start))
    here, candidate = (np.concatenate(side) for side in zip(*found, strict=True))
    return here, candidate


def _join(together: np.ndarray, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Join the rows of pairs; which of the pairs, as few as possible, do it: places in ``one`` (pairs,) int64."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

    apart = np.flatnonzero(together[one] != together[other])
    if not len(apart):
        return apart
    sides = np.sort(np.stack([together[one[apart]], together[other[apart]]]), axis=0)
    _, once = np.unique(sides, axis=1, return_index=True)
    shape = (len(together), len(together))
    ends = sides[:, once].astype(np.int32)  # the trees of SciPy before 1.16 know no longer numbers
    # an edge weighs its place, counted from 1: 0 would be no edge
    graph = coo_array((once + 1.0, (ends[0], ends[1])), shape=shape)
    tree = minimum_spanning_tree(graph.tocsr())
    together[:] = connected_components(tree, directed=False)[1][together]
    return np.sort(apart[tree.data.astype(np.int64) - 1])


def _blocks(rows: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    for first in range(0, len(rows), BLOCK_ROWS):
        yield first, rows[first : first + BLOCK_ROWS]
