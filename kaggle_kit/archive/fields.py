"""The fields of a record: type, default and meaning, declared once a field."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kaggle_kit.errors import DataError

Number = (int, float)

Types = type | tuple[type, ...]


@dataclass(frozen=True)
class Field:
    """One field of a record; None is always allowed unless ``required``."""

    types: Types
    meaning: str
    default: Any = None
    """What stands there when nothing was given; an empty container is copied for each record."""
    required: bool = False
    inside: Mapping[str, Types] = dataclasses.field(default_factory=dict)
    """What the entries of a table, or of each table in a list, may be, by name; None and entries of other names always may."""
    moment: bool = False
    """It is a time: ISO 8601 with a zone."""


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
    if not _fits(value, field.types) or (field.moment and not is_moment(value)):
        return f"cannot be {value!r:.60} ({field.meaning})"
    return _problem_inside(value, field) if field.inside else None


def _fits(value: Any, types: Types) -> bool:
    if not isinstance(value, types) or (isinstance(value, bool) and types is not bool):
        return False
    return not isinstance(value, float) or math.isfinite(value)


def _problem_inside(value: Any, field: Field) -> str | None:
    for table in value if isinstance(value, list) else (value,):
        if not isinstance(table, dict):
            return f"cannot hold {table!r:.60} ({field.meaning})"
        for name, types in field.inside.items():
            entry = table.get(name)
            if entry is not None and not _fits(entry, types):
                return f"cannot have the {name} {entry!r:.60} ({field.meaning})"
    return None


def is_moment(value: Any) -> bool:
    """Whether it is a time in ISO 8601 with a zone."""
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False


def is_count(value: Any) -> bool:
    """Whether it is a whole number from 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
