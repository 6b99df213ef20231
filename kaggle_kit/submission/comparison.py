"""Vectors held against an earlier submission's: the same, shifted by a row, or in the wrong order?

Two good submissions predict the same images, so their rows agree far better in order than shuffled. Only sums of cosines are kept, so a
submission is compared while it streams by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

SHUFFLES = 16
CLEAR = 5.0
"""Standard deviations of the shuffled means by which one mean must exceed another."""
SAME_DIRECTION = 1e-6
"""Cosine distance below which two rows count as the same: what dropping to five digits changes is far less."""
FEWEST_ROWS = 8


@dataclass(frozen=True)
class Earlier:
    """A submission to compare with: its name, and its (n, d) float32 vectors in the order of the same ids (a memory map will do)."""

    name: str
    vectors: np.ndarray


@dataclass
class Agreement:
    """Mean cosines between rows that stream by and an earlier submission's."""

    earlier: Earlier
    rows: int = 0
    aligned: float = 0.0
    worst: float = 1.0
    shifted: np.ndarray = field(default_factory=lambda: np.zeros(2))
    shuffled: np.ndarray = field(default_factory=lambda: np.zeros(SHUFFLES))

    def __post_init__(self) -> None:
        count = len(self.earlier.vectors)
        generator = np.random.default_rng(0)
        self._partners = np.stack(
            [
                np.arange(count),
                np.roll(np.arange(count), -1),
                np.roll(np.arange(count), 1),
                *(generator.permutation(count) for _ in range(SHUFFLES)),
            ]
        )

    def observe(self, position: int, vector: np.ndarray) -> None:
        """Take in the row of the id at ``position``: (d,) float32."""
        others = np.asarray(self.earlier.vectors[self._partners[:, position]], dtype=np.float64)
        norms = np.linalg.norm(others, axis=1) * np.linalg.norm(vector.astype(np.float64))
        cosines = others @ vector.astype(np.float64) / np.where(norms > 0, norms, 1.0)
        self.rows += 1
        self.aligned += cosines[0]
        self.worst = min(self.worst, cosines[0])
        self.shifted += cosines[1:3]
        self.shuffled += cosines[3:]

    def findings(self) -> Iterator[tuple[str, str]]:
        """What stands out: (kind, sentence)."""
        if self.rows < FEWEST_ROWS:
            return
        aligned, shifted = self.aligned / self.rows, self.shifted / self.rows
        chance = float(self.shuffled.mean()) / self.rows
        spread = max(float(self.shuffled.std(ddof=1)) / self.rows, 1e-6) * CLEAR
        name = self.earlier.name
        if self.worst >= 1 - SAME_DIRECTION and self.rows == len(self.earlier.vectors):
            yield "same_vectors", f"the vectors are those of {name}"
        elif shifted.max() > max(aligned, chance) + spread:
            way = "up" if shifted[0] > shifted[1] else "down"
            yield (
                "shifted",
                f"rows look shifted {way} by one against {name}: "
                f"mean cosine {shifted.max():.3f} to the neighbour's row, {aligned:.3f} to the own",
            )
        elif aligned < chance + spread:
            yield (
                "wrong_order",
                f"rows agree with {name} no better than shuffled ones "
                f"(mean cosine {aligned:.3f}, shuffled {chance:.3f}): wrong order?",
            )


def agreements(earlier: list[Earlier], rows: int, dimension: int) -> list[Agreement]:
    """One for each earlier submission of the same shape; others cannot be compared."""
    return [Agreement(one) for one in earlier if one.vectors.shape == (rows, dimension)]
