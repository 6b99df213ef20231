"""The places that settings come from, each as a layer of entries by dotted key."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kaggle_kit.config.keys import Key, did_you_mean, keys_of, nearest
from kaggle_kit.config.model import CHOICES, SECTIONS, Settings, flatten_table
from kaggle_kit.config.places import read_text
from kaggle_kit.errors import ConfigError

ALIASES = {
    "competition": "competition.slug",
    "translator": "translator.name",
    "loss": "loss.name",
    "plugins": "plugins.files",
}
"""What a section's bare name stands for: ``translator = "mlp"``, ``KK_LOSS=mse``."""

_VARIABLE = "KK_"
_TYPO = 0.85


@dataclass(frozen=True)
class Entry:
    """One setting as a layer gives it.

    Attributes:
        key: the dotted key.
        value: what stands there.
        text: whether the place holds text only, so that the value has to be parsed.
        origin: the place's short name, for ``kk config show --origin``.
        label: how a message names the place and the key.
        name_there: turns a dotted key into the name that it has in that place, for suggestions.
    """

    key: str
    value: Any
    text: bool
    origin: str
    label: str
    name_there: Callable[[str], str] = str


@dataclass(frozen=True)
class Layer:
    """The entries of one place by dotted key, and what was wrong with the place itself."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def all_keys() -> dict[str, Key]:
    """Every setting that is declared in the package's sections; a choice has its name only."""
    keys: dict[str, Key] = {}
    for name, section in SECTIONS.items():
        if name in CHOICES:
            keys[f"{name}.name"] = Key(f"{name}.name", str, getattr(Settings, name).name, f"name of the {name}", None)
        else:
            keys |= keys_of(section, name)
    return keys


def file_layer(path: Path, shown: str, origin: str | None = None) -> Layer:
    """The settings in a TOML file of sections, which messages call ``shown``."""
    document, problems = _parse(path, shown)
    keys = all_keys()
    pairs: list[tuple[str, Any]] = []
    for name, value in document.items():
        if isinstance(value, dict) and name in SECTIONS:
            pairs += flatten_table(value, name, keys)
        elif name in ALIASES and not isinstance(value, dict):
            pairs.append((ALIASES[name], value))
        else:
            problems.append(f"{shown}: {_unknown_part(name, value, keys)}")
    return Layer({key: Entry(key, value, False, origin or shown, f"{shown}: {key}") for key, value in pairs}, problems)


def description_layer(path: Path, shown: str) -> Layer:
    """A competition's TOML description: the fields of its section, without the section's name."""
    document, problems = _parse(path, shown)
    pairs = [
        pair for name, value in document.items() for pair in flatten_table(value, f"competition.{name}", all_keys())
    ]
    return Layer(
        {key: Entry(key, value, False, shown, f"{shown}: {_short(key)}", _short) for key, value in pairs}, problems
    )


def environment_layer(environ: Mapping[str, str]) -> Layer:
    """The settings in ``KK_<SECTION>_<FIELD>`` variables; an empty variable counts as not set."""
    names = {_variable(key): key for key in all_keys()} | {_variable(name): key for name, key in ALIASES.items()}
    entries: dict[str, Entry] = {}
    problems: list[str] = []
    for name, value in sorted(environ.items()):
        if not name.startswith(_VARIABLE) or not value:
            continue
        key = names.get(name) or _key_in_known_section(name)
        if key:
            entries[key] = Entry(key, value, True, name, name, _variable)
        else:
            problems += _unknown_variable(name, names)
    return Layer(entries, problems)


def override_layer(values: Mapping[str, Any], origins: Mapping[str, str]) -> Layer:
    """Settings given as flags or arguments, by dotted key; ``origins`` says which flag gave which."""
    entries: dict[str, Entry] = {}
    for given, value in values.items():
        key = ALIASES.get(given, given)
        origin = origins.get(given, "argument")
        label = origin if origin.startswith("-") and origin != "--set" else f"{origin} {key}"
        entries[key] = Entry(key, value, isinstance(value, str), origin, label)
    return Layer(entries)


def _parse(path: Path, shown: str) -> tuple[dict[str, Any], list[str]]:
    """The document in a TOML file; an empty one and a problem when it is none."""
    try:
        return tomllib.loads(
            read_text(path, shown).removeprefix("\ufeff")
        ), []  # Windows' Notepad begins a file with that mark
    except (ValueError, RecursionError) as error:  # also numbers and nestings beyond what Python reads
        return {}, [f"{shown}: not valid TOML: {error}"]
    except ConfigError as error:
        return {}, error.problems


def _unknown_part(name: str, value: Any, keys: Mapping[str, Key]) -> str:
    """What to say of a top-level name that is neither a section nor short for one."""
    if name in keys:
        return f"{name}: in quotes, a name with a point in it is no setting of a section; write it without quotes"
    if name in SECTIONS:
        return f"{name}: must be a table of settings, not {value!r}"
    if isinstance(value, dict):
        near = nearest(name, SECTIONS)
        return f"[{name}]: no such section{did_you_mean(near and f'[{near}]')}"
    return f"{name}: no such setting{did_you_mean(nearest(name, [*keys, *ALIASES]))}"


def _variable(key: str) -> str:
    return _VARIABLE + key.replace(".", "_").upper()


def _key_in_known_section(variable: str) -> str | None:
    """The dotted key that an unknown variable of a known section would be."""
    section, _, rest = variable.removeprefix(_VARIABLE).lower().partition("_")
    return f"{section}.{rest}" if section in SECTIONS and rest else None


def _unknown_variable(variable: str, names: Mapping[str, str]) -> Iterator[str]:
    """What to say of a variable that is no setting's; nothing of those that look like another program's."""
    word = variable.removeprefix(_VARIABLE).lower()
    keys = list(dict.fromkeys(names.values()))
    if word in SECTIONS:
        first = next(key for key in keys if key.startswith(f"{word}."))
        yield f"{variable}: [{word}] is a section of several settings, such as {_variable(first)}"
        return
    fields = sorted((key for key in keys if key.rpartition(".")[2] == word), key=lambda key: key != f"train.{word}")
    near = [_variable(key) for key in fields] or difflib.get_close_matches(variable, names, 1, _TYPO)
    if near:
        yield f"{variable}: no such variable{did_you_mean(near[0])}"


def _short(key: str) -> str:
    return key.removeprefix("competition.")
