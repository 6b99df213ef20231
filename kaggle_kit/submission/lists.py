"""One cell of a submission: a JSON list of finite numbers, or a sentence that says what else it is.

The rule is narrow on purpose: a list that both ``json`` and ``ast.literal_eval`` read, so that it is right however the scorer reads it.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson

from kaggle_kit.submission.report import shown

_PLAIN = b"0123456789+-.eE, \t\r\n[]"
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_WORDS = (
    (
        re.compile(r"np\.float\d+\(|float\d+\("),
        "numpy_text",
        "a number written as NumPy 2 prints it; use vector.tolist()",
    ),
    (re.compile(r"(?<![A-Za-z])nan(?![A-Za-z])", re.I), "nan", "not a number"),
    (re.compile(r"(?<![A-Za-z])inf(inity)?(?![A-Za-z])", re.I), "infinity", "infinity"),
    (re.compile(r"(?<![A-Za-z])(None|null|NA)(?![A-Za-z])"), "null", "a missing number"),
    (re.compile(r"\.\.\."), "list", "the list was shortened by printing it; use vector.tolist()"),
    (re.compile(r"^\s*\(|^\s*array|tensor"), "list", "a tuple, array or tensor, not a list; use vector.tolist()"),
    (re.compile(r"[\d.]\s+-?[\d.]"), "list", "numbers without commas between them; use vector.tolist()"),
    (re.compile(r"[\r\n]"), "list", "the cell runs over several lines and is no list: is a quote missing?"),
)


@dataclass(frozen=True)
class BadList:
    """Why a cell is no vector."""

    kind: str
    message: str
    found: str | None = None


def parse_list(cell: bytes, dimension: int | None) -> np.ndarray | BadList:
    """The vector in ``cell`` as (d,) float32, or what is wrong with it.

    ``dimension`` is the d wanted; None accepts any but 0.
    """
    vector = _parse_plain(cell)
    if vector is None:
        return _parse_carefully(cell, dimension)
    return vector if vector.size == (dimension or vector.size) else _wrong_dimension(vector.size, dimension)


def _parse_plain(cell: bytes) -> np.ndarray | None:
    """The vector if nothing at all is odd about the cell: the fast way."""
    if cell.translate(None, _PLAIN):
        return None
    try:
        values = np.array(orjson.loads(cell), dtype=np.float64)
    except (ValueError, OverflowError, TypeError):
        return None
    if values.ndim != 1 or not values.size:
        return None
    with np.errstate(over="ignore"):
        vector = values.astype(np.float32)
    return vector if np.isfinite(vector).all() else None


def _parse_carefully(cell: bytes, dimension: int | None) -> np.ndarray | BadList:
    try:
        text = cell.decode("utf-8")
    except UnicodeDecodeError as error:
        return BadList("encoding", f"byte 0x{cell[error.start]:02x} at {error.start + 1} is not UTF-8", shown(cell))
    if not text.strip():
        return BadList("null", "the list is missing")
    try:
        items = json.loads(text)
    except (ValueError, RecursionError) as error:
        return _unreadable(text, error)
    if not isinstance(items, list):
        return BadList("list", f"{_name_of(items)}, not a list", shown(text))
    return _from_items(items, dimension)


def _from_items(items: list[Any], dimension: int | None) -> np.ndarray | BadList:
    bad = [(place, problem) for place, item in enumerate(items, 1) if (problem := _item_problem(item))]
    if bad:
        place, (kind, message) = bad[0]
        more = f" (and {len(bad) - 1} more like it)" if len(bad) > 1 else ""
        return BadList(kind, f"number {place} is {message}{more}", shown(json.dumps(items[place - 1])))
    if len(items) != dimension and (dimension or not items):
        return _wrong_dimension(len(items), dimension)
    return np.array([float(item) for item in items], dtype=np.float64).astype(np.float32)


def _wrong_dimension(count: int, dimension: int | None) -> BadList:
    return BadList("dimension", f"{count} numbers instead of {dimension or 'at least 1'}")


def _item_problem(item: Any) -> tuple[str, str] | None:
    if item is None:
        return "null", "missing"
    if isinstance(item, bool) or not isinstance(item, int | float):
        return "number", f"{_name_of(item)}, not a number"
    if isinstance(item, float) and math.isnan(item):
        return "nan", "not a number"
    if isinstance(item, float) and math.isinf(item):
        return "infinity", "infinite"
    if not _fits_float32(item):
        return "infinity", "too large for float32"
    return None


def _fits_float32(item: float) -> bool:
    if abs(item) <= _FLOAT32_MAX:
        return True
    try:
        with np.errstate(over="ignore"):
            return bool(np.isfinite(np.float32(float(item))))  # up to half a step above the largest still rounds down
    except OverflowError:
        return False


def _unreadable(text: str, error: Exception) -> BadList:
    for pattern, kind, message in _WORDS:
        match = pattern.search(text)
        if match:
            return BadList(kind, message, shown(text[max(0, match.start() - 10) :]))
    if isinstance(error, json.JSONDecodeError):
        start = max(0, error.pos - 20)
        return BadList("list", f"not a list of numbers at character {error.pos + 1}", shown(text[start:]))
    return BadList("list", "not a list of numbers", shown(text))


def _name_of(item: Any) -> str:
    names = {bool: "true or false", str: "text", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(item), "a single number")
