"""Results as plain data: what ``--json`` prints."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from datetime import date, datetime
from enum import Enum
from typing import Any

from kaggle_kit.files import to_json


def plain(value: Any) -> Any:
    """``value`` as dictionaries, lists, texts, numbers, booleans and None.

    A result may say itself what it is made of by ``to_dict``; else a dataclass is its fields. A figure that is no number becomes None;
    NumPy arrays and scalars become lists and numbers.
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, Enum):
        return plain(value.value)
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    if hasattr(value, "to_dict"):
        return plain(value.to_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {part.name: plain(getattr(value, part.name)) for part in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(inner) for inner in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return plain(os.fspath(value))
    return plain(value.tolist()) if hasattr(value, "tolist") else plain(str(value))


def document(value: Any) -> bytes:
    """``value`` as one JSON document."""
    return to_json(plain(value))
