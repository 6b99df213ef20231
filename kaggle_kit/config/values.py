"""From what a file, a variable or a flag holds to the value that a setting's annotation asks for."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Mapping
from typing import Any

from kaggle_kit.settings import Duration, duration_of

_WORDS: dict[Any, tuple[str, str]] = {
    bool: ("true or false", "booleans"),
    int: ("an integer", "integers"),
    float: ("a number", "numbers"),
    str: ("text", "texts"),
    Duration: ("a duration such as 90s, 45m, 11h30m or a number of seconds", "durations"),
}
_BOOLEANS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def convert(annotation: Any, value: Any, *, text: bool) -> Any:
    """``value`` as the type that ``annotation`` names.

    Args:
        annotation: bool, int, float, str, a list or tuple of one of them, a mapping, each with ``| None`` or without.
        value: what was given; a whole number counts as a float, a boolean never as a number.
        text: whether ``value`` comes from a place that holds text only (a variable, the command line), to be parsed.

    Raises:
        ValueError: the value is of another type; the message is a sentence ("must be an integer, not 'many'").
    """
    kind, optional = _split_optional(annotation)
    if optional and (value is None or (isinstance(value, str) and value.strip().lower() == "none")):
        return None
    try:
        return _as_kind(kind, value, text=text and isinstance(value, str))
    except ValueError:
        raise ValueError(f"must be {_in_words(kind, optional=optional)}, not {_shown(value)}") from None


def guess(text: str) -> Any:
    """The value that ``text`` most likely means where no declaration says so: a boolean, a number, None or the text."""
    lowered = text.strip().lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    if lowered == "none":
        return None
    for kind in (int, float) if text.isascii() else ():
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _split_optional(annotation: Any) -> tuple[Any, bool]:
    """The annotation without ``None``, and whether it allowed None."""
    if isinstance(annotation, types.UnionType) or typing.get_origin(annotation) is typing.Union:
        kinds = [kind for kind in typing.get_args(annotation) if kind is not types.NoneType]
        return (kinds[0] if len(kinds) == 1 else Any), len(kinds) < len(typing.get_args(annotation))
    return annotation, False


def _as_kind(kind: Any, value: Any, *, text: bool) -> Any:
    container = typing.get_origin(kind) or kind
    if container in (list, tuple):
        return _as_sequence(container, kind, value, text=text)
    if container in (dict, Mapping):
        return dict(value)
    if kind is Duration:
        return duration_of(value) if isinstance(value, str) else _checked(float, value)
    if kind is Any:
        return guess(value) if text else value
    return _from_text(kind, value) if text else _checked(kind, value)


def _as_sequence(container: type, kind: Any, value: Any, *, text: bool) -> Any:
    """A list or tuple, from a sequence or from text with commas."""
    items = [part.strip() for part in value.strip("[] ").split(",") if part.strip()] if text else value
    if isinstance(items, str) or not isinstance(items, list | tuple):
        raise ValueError
    inner = (typing.get_args(kind) or (Any,))[0]
    return container(_as_kind(inner, item, text=text) for item in items)


def _from_text(kind: Any, value: str) -> Any:
    if kind is bool:
        if value.strip().lower() not in _BOOLEANS:
            raise ValueError
        return _BOOLEANS[value.strip().lower()]
    if kind in (int, float) and not value.isascii():  # Python reads the digits of every script
        raise ValueError
    return _checked(kind, kind(value))


def _checked(kind: Any, value: Any) -> Any:
    """``value`` when it is of ``kind``: bool is no number, a whole number is a float, floats are finite."""
    if isinstance(value, bool) != (kind is bool):
        raise ValueError
    if kind is float and isinstance(value, int | float) and math.isfinite(value):
        return float(value)
    if not isinstance(value, kind) or kind is float:
        raise ValueError
    return value


def _in_words(kind: Any, *, optional: bool) -> str:
    container = typing.get_origin(kind) or kind
    if container in (list, tuple):
        inner = (typing.get_args(kind) or (Any,))[0]
        words = f"a list of {_WORDS.get(inner, ('', 'values'))[1]}"
    elif container in (dict, Mapping):
        words = "a table"
    else:
        words = _WORDS.get(kind, (getattr(kind, "__name__", str(kind)), ""))[0]
    return f"{words} or none" if optional else words


def _shown(value: Any) -> str:
    """A value in a message: short, and true about its type."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, bool):
        return str(value).lower()
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."
