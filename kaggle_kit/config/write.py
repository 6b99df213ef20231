"""Settings as TOML text: only what differs from the defaults, each line with its meaning where that is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from dataclasses import fields
from typing import Any

from kaggle_kit.settings import Section

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")


def toml_lines(
    name: str, section: Section, default: Section, *, meanings: bool = False, always: Collection[str] = ()
) -> list[str]:
    """A section and those inside it as tables.

    Args:
        name: the table's name; empty for the top of the file.
        section: the values.
        default: what need not be written.
        meanings: put what a setting means above it.
        always: dotted names, below ``name``, that are written even when they have the default.
    """
    lines: list[str] = []
    below: list[str] = []
    for field in fields(section):
        value = getattr(section, field.name)
        inner = [one.removeprefix(f"{field.name}.") for one in always]
        if isinstance(value, Section):
            inner_name = f"{name}.{field.name}".removeprefix(".")
            below += toml_lines(inner_name, value, getattr(default, field.name), meanings=meanings, always=inner)
        elif value != getattr(default, field.name) or field.name in always:
            lines += [f"# {comment(field.metadata['meaning'])}"] if meanings else []
            lines.append(f"{field.name} = {literal(value)}")
    head = [f"[{name}]"] if name else []
    return ([*head, *lines, ""] if lines else []) + below


def literal(value: Any) -> str:
    """A value as TOML writes it: JSON's literals are TOML's; none is a word of ours."""
    plain = _CONTROLS.sub(" ", value) if isinstance(value, str) else value
    return json.dumps("none" if plain is None else plain, ensure_ascii=False)


def comment(text: str) -> str:
    """Text on one line, without what a comment must not hold."""
    return _CONTROLS.sub(" ", text).strip()
