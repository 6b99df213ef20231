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
    required: bool = False


def completed(record: Mapping[str, Any], fields: Mapping[str, Field]) -> dict[str, Any]:
    """``record`` with the defaults of the fields that it leaves out; fields of no declaration are kept.

    Raises:
        DataError: a required field is missing, or a value has the wrong type; all of them are named.
    """
    whole = {name: copy.deepcopy(field.default) for name, field in fields.items()} | dict(record)
    problems = [problem for name, field in fields.items() if (problem := _problem(name, whole[name], field))]
    if problems:
        raise DataError(f"record {whole.get('id')}: " + "; ".join(problems))
    return whole


def _problem(name: str, value: Any, field: Field) -> str | None:
    if value is None:
        return f"{name} is missing" if field.required else None
    boolean_for_number = isinstance(value, bool) and field.types is not bool
    if boolean_for_number or not isinstance(value, field.types):
        return f"{name} cannot be {value!r:.60} ({field.meaning})"
    return None
