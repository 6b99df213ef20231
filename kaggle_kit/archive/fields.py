"""The fields of a record: type, default and meaning, declared once a field."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaggle_kit.errors import DataError

Number = (int, float)


@dataclass(frozen=True)
class Field:
    """One field of a record; None is always allowed unless ``required``."""

    types: type | tuple[type, ...]
    meaning: str
    default: Any = None
    """What stands there when nothing was given; an empty container is copied for each record."""
    required: bool = False


def completed(record: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """``record`` with the defaults of the fields that it leaves out; fields of no declaration are kept.

    Raises:
        DataError: a required field is missing, or a value has the wrong type; all of them are named.
    """
    whole = dict(record)
    for name, field in fields.items():
        if name not in whole:
            whole[name] = copy.copy(field.default)
    problems = [f"{name} {problem}" for name, field in fields.items() if (problem := _problem(whole[name], field))]
    if problems:
        raise DataError(f"record {whole.get('id')}: " + "; ".join(problems))
    return whole


def _problem(value: Any, field: Field) -> str | None:
    """What is wrong with a value; thousands of records are checked for one listing, so the common cases come first."""
    if value is None:
        return "is missing" if field.required else None
    if isinstance(value, field.types) and ((value is not True and value is not False) or field.types is bool):
        return None
    return f"cannot be {value!r:.60} ({field.meaning})"
