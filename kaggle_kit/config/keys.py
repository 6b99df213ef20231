"""The dotted keys that exist (``train.learning_rate``), what each may hold, and the nearest one to a mistyped name."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kaggle_kit.config.values import convert
from kaggle_kit.errors import ConfigError
from kaggle_kit.settings import Rule, Section, fields_of


@dataclass(frozen=True)
class Key:
    """One setting: its dotted name, the type and rule of its values, its default and its meaning."""

    name: str
    annotation: Any
    default: Any
    meaning: str
    rule: Rule | None

    def accept(self, value: Any, *, text: bool) -> Any:
        """``value`` as this setting holds it.

        Raises:
            ValueError: of another type, or against the rule; the message is a sentence.
        """
        converted = convert(self.annotation, value, text=text)
        if self.rule and converted is not None and not self.rule.holds(converted):
            raise ValueError(f"{self.rule.words}, not {converted!r}")
        return converted


def keys_of(section: type[Section], prefix: str) -> Mapping[str, Key]:
    """Every setting of ``section`` and of the sections inside it, by dotted key below ``prefix``."""
    hints = typing.get_type_hints(section)
    keys: dict[str, Key] = {}
    for name, field in fields_of(section).items():
        dotted = f"{prefix}.{name}"
        if is_section(hints[name]):
            keys |= keys_of(hints[name], dotted)
        else:
            keys[dotted] = Key(
                dotted, hints[name], _default(field), field.metadata.get("meaning", ""), field.metadata.get("rule")
            )
    return keys


def build(section: type[Section], prefix: str, values: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """An instance of ``section`` from ``values`` by dotted key, and the problems of rules across settings."""
    hints = typing.get_type_hints(section)
    arguments: dict[str, Any] = {}
    problems: list[str] = []
    for name in fields_of(section):
        dotted = f"{prefix}.{name}"
        if is_section(hints[name]):
            arguments[name], found = build(hints[name], dotted, values)
            problems += found
        elif dotted in values:
            arguments[name] = values[dotted]
    try:
        return section(**arguments), problems
    except ConfigError as error:
        return section(), problems + [_placed(problem, section, prefix) for problem in error.problems]


def _placed(problem: str, section: type, prefix: str) -> str:
    """A section's own problem with the dotted key in front, or the section's name when it is about several settings."""
    return f"{prefix}.{problem}" if problem.partition(":")[0] in fields_of(section) else f"{prefix}: {problem}"


def flatten(section: Any, prefix: str) -> dict[str, Any]:
    """The values of a section instance by dotted key."""
    values: dict[str, Any] = {}
    for name in fields_of(type(section)):
        value = getattr(section, name)
        inner = f"{prefix}.{name}"
        values |= flatten(value, inner) if isinstance(value, Section) else {inner: value}
    return values


def is_section(annotation: Any) -> bool:
    """Whether a field holds settings of its own."""
    return isinstance(annotation, type) and issubclass(annotation, Section)


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The known name that ``name`` most likely meant: a near name of its section, else the same field elsewhere."""
    known = list(names)
    section, _, leaf = name.rpartition(".")
    siblings = {other.rpartition(".")[2]: other for other in known if other.rpartition(".")[0] == section}
    if close := difflib.get_close_matches(leaf, siblings, 1, 0.6):
        return siblings[close[0]]
    if elsewhere := [other for other in known if leaf in (other.rpartition(".")[2], _initials(other))]:
        return elsewhere[0]
    if not siblings:
        return next(iter(difflib.get_close_matches(name, known, 1, 0.8)), None)
    leaves = {other.rpartition(".")[2]: other for other in known}
    return next((leaves[near] for near in difflib.get_close_matches(leaf, leaves, 1, 0.8)), None)


def _initials(key: str) -> str:
    """``lr`` for ``train.learning_rate``."""
    return "".join(word[0] for word in key.rpartition(".")[2].split("_"))


def did_you_mean(name: str | None) -> str:
    """The end of a sentence that proposes ``name``; nothing when there is none."""
    return f"; did you mean {name}?" if name else ""


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return field.default
