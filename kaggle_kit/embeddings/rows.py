"""How row numbers are named in messages."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SHOWN = 5


def name_rows(rows: Sequence[int] | np.ndarray) -> str:
    """``row 7 has``, ``rows 3, 7 and 12 have``, ``1,204 rows (3, 7, 12, 15, 18, …) have``: rows are counted from 0."""
    shown = [str(int(row)) for row in rows[:SHOWN]]
    if len(rows) > SHOWN:
        return f"{len(rows):,} rows ({', '.join(shown)}, …) have"
    if len(rows) == 1:
        return f"row {shown[0]} has"
    return f"rows {', '.join(shown[:-1])} and {shown[-1]} have"
