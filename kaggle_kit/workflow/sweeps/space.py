"""The search space of a sweep: which settings are tried and over what, read from ``[sweep.space]`` and checked as a whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from kaggle_kit.config import Project, Schemas
from kaggle_kit.config.keys import Key, did_you_mean, keys_of, nearest
from kaggle_kit.config.layers import ALIASES, all_keys
from kaggle_kit.config.model import CHOICES
from kaggle_kit.errors import ConfigError

EXAMPLE = '[sweep.space] "train.learning_rate" = { low = 1e-4, high = 1e-2, log = true }'

_SWEPT = ("data", "translator", "loss", "train")
_RANGE, _ALL = ("low", "high", "step", "log"), ("low", "high", "step", "log", "choices")
_NUMBERS = {int: "whole numbers", float: "numbers"}


@dataclass(frozen=True)
class Parameter:
    """One setting that is tried.

    Attributes:
        key: its dotted name.
        choices: what is tried, when it is a list.
        low: least value, when it is a range; ``high`` is included.
        step: distance of two values; None: any number (the next whole number for integers).
        log: whether values are spread evenly over the logarithm.
        integer: whether values are whole numbers.
        needs: the translators (or losses) that have this option, by name; empty when all have it.
        start: the value in force without the sweep, when it is one that could be tried.
    """

    key: str
    choices: tuple[Any, ...] = ()
    low: float | None = None
    high: float | None = None
    step: float | None = None
    log: bool = False
    integer: bool = False
    needs: frozenset[str] = frozenset()
    start: Any = None

    def to_dict(self) -> dict[str, Any]:
        """What was asked for, as the TOML table has it."""
        if self.choices:
            return {"choices": list(self.choices)}
        given = {"low": self.low, "high": self.high, "step": self.step, "log": self.log or None}
        return {name: value for name, value in given.items() if value is not None}


def read_space(project: Project, schemas: Schemas) -> list[Parameter]:
    """The parameters of the project's ``[sweep.space]``; translator and loss come first, the options of each depend on them.

    Raises:
        ConfigError: there is nothing to try, or something of it is wrong; every problem is named.
    """
    entries = dict(_entries(project.settings.sweep.space, all_keys()))
    if not entries:
        raise ConfigError(
            ["sweep.space: nothing to try"],
            f"say what is tried in the configuration, such as {EXAMPLE} (docs/sweep.md)",
        )
    reader = _Reader(project, schemas, entries)
    order = sorted(entries, key=lambda key: key not in _names())
    parameters = [parameter for key in order for parameter in reader.parameter(key, entries[key])]
    if reader.problems:
        raise ConfigError([f"sweep.space: {problem}" for problem in reader.problems])
    return parameters


def _names() -> tuple[str, ...]:
    return tuple(f"{kind}.name" for kind in CHOICES)


def _entries(table: Mapping[str, Any], keys: Mapping[str, Key], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and what is said of each, whether written with quotes, with dots or as nested tables."""
    for name, value in table.items():
        dotted = prefix + name
        if dotted in ALIASES and isinstance(value, Mapping) and set(value) & set(_ALL):
            dotted = ALIASES[dotted]
        inner = isinstance(value, Mapping) and any(key.startswith(f"{dotted}.") for key in keys)
        if inner and dotted not in keys:
            yield from _entries(value, keys, f"{dotted}.")
        else:
            yield dotted, value


class _Reader:
    """Reads one parameter after the other and collects what is wrong."""

    def __init__(self, project: Project, schemas: Schemas, entries: Mapping[str, Any]) -> None:
        self.project, self.problems = project, []  # type: Project, list[str]
        self.keys: dict[str, Key] = all_keys()
        self.owners: dict[str, set[str]] = {}
        self.candidates: dict[str, list[str]] = {}
        known = {"translator": schemas.translators, "loss": schemas.losses}
        for kind in CHOICES:
            self.candidates[kind] = self._candidates(kind, entries.get(f"{kind}.name"), known[kind])
            for name in self.candidates[kind]:
                options = keys_of(known[kind][name].options, kind)
                self.keys |= options
                for key in options:
                    self.owners.setdefault(key, set()).add(name)

    def _candidates(self, kind: str, entry: Any, known: Mapping[str, Any]) -> list[str]:
        """The translators (or losses) that a trial may have."""
        named = entry.get("choices") if isinstance(entry, Mapping) else None
        if not isinstance(named, list):
            return [getattr(self.project.settings, kind).name]
        for name in named:
            if name not in known:
                near = did_you_mean(nearest(str(name), known)) or f"; choose from {', '.join(sorted(known))}"
                self.problems.append(f"{kind}.name: no {kind} is called {name!r}{near}")
        return [name for name in named if name in known]

    def parameter(self, key: str, table: Any) -> Iterator[Parameter]:
        """The parameter; nothing, and problems, when it is wrong."""
        before = len(self.problems)
        section = key.partition(".")[0]
        if key not in self.keys:
            self.problems.append(f"{key}: no such setting{did_you_mean(nearest(key, self.keys))}")
        elif section not in _SWEPT:
            self.problems.append(f"{key}: cannot be tried; a sweep varies {', '.join(_SWEPT)}")
        elif not isinstance(table, Mapping):
            self.problems.append(f"{key}: must be {{ low, high }} or {{ choices = [...] }}, not {table!r}")
        else:
            self._check_names(key, table)
            made = self._choices(key, table) if "choices" in table else self._range(key, table)
            if made is not None and len(self.problems) == before:
                yield made

    def _check_names(self, key: str, table: Mapping[str, Any]) -> None:
        for name in table:
            if name not in _ALL:
                self.problems.append(f"{key}: no such field {name!r}{did_you_mean(nearest(name, _ALL))}")
        if "choices" in table and (also := [name for name in _RANGE if name in table]):
            self.problems.append(f"{key}: choices and {', '.join(also)} exclude each other")

    def _needs(self, key: str) -> frozenset[str]:
        owners = self.owners.get(key, set())
        everyone = set(self.candidates.get(key.partition(".")[0], []))
        return frozenset(owners) if owners and owners != everyone else frozenset()

    def _choices(self, key: str, table: Mapping[str, Any]) -> Parameter | None:
        choices = table["choices"]
        if not isinstance(choices, list) or not choices:
            self.problems.append(f"{key}: choices must be a list of at least one value, not {choices!r}")
            return None
        if any(choice in choices[:place] for place, choice in enumerate(choices)):
            self.problems.append(f"{key}: choices names a value twice")
        values = [self._accepted(key, choice) for choice in choices]
        current = self._current(key)
        start = next((choice for choice, value in zip(choices, values, strict=True) if value == current), None)
        return Parameter(key, tuple(choices), needs=self._needs(key), start=start)

    def _accepted(self, key: str, value: Any, label: str = "") -> Any:
        """The value as the setting holds it; a problem when it cannot."""
        if isinstance(value, list | dict):
            self.problems.append(f"{key}: cannot try {value!r}; write a list as text, such as '256, 128'")
            return None
        if key in _names():
            return value
        try:
            return self.keys[key].accept(value, text=isinstance(value, str))
        except ValueError as error:
            self.problems.append(f"{key}: {label}{error}")
            return None

    def _range(self, key: str, table: Mapping[str, Any]) -> Parameter | None:
        kind = _kind_of(self.keys[key])
        if kind is None:
            self.problems.append(f"{key}: is no number; give choices = [...]")
            return None
        if missing := [name for name in ("low", "high") if name not in table]:
            self.problems.append(f"{key}: {' and '.join(missing)} missing (or choices)")
            return None
        low, high = (self._accepted(key, table[name], f"{name} ") for name in ("low", "high"))
        step, log = table.get("step"), table.get("log", False)
        if low is None or high is None or not self._fits(key, kind, low, high, step, log):
            return None
        high = _last(low, high, step)
        current = self._current(key)
        inside = isinstance(current, int | float) and low <= current <= high and _last(low, current, step) == current
        return Parameter(
            key, (), low, high, step, log, kind is int, self._needs(key), start=current if inside else None
        )

    def _fits(self, key: str, kind: type, low: Any, high: Any, step: Any, log: Any) -> bool:
        """Whether the parts of a range go together."""
        before = len(self.problems)
        if not low < high:
            self.problems.append(f"{key}: low ({low}) must be below high ({high})")
        if not isinstance(log, bool):
            self.problems.append(f"{key}: log must be true or false, not {log!r}")
        elif log and step is not None:
            self.problems.append(f"{key}: log and step exclude each other")
        elif log and low <= 0:
            self.problems.append(f"{key}: low must be above 0 with log, not {low}")
        fit = (int,) if kind is int else (int, float)
        if step is not None and (isinstance(step, bool) or not isinstance(step, fit) or step <= 0):
            self.problems.append(f"{key}: step must be above 0 and of {_NUMBERS[kind]}, not {step!r}")
        return len(self.problems) == before

    def _current(self, key: str) -> Any:
        """What is in force without the sweep."""
        kind, _, name = key.partition(".")
        part = getattr(self.project.settings, kind)
        if kind in CHOICES:
            return part.name if name == "name" else part.options.get(name)
        return getattr(part, name)


def _kind_of(key: Key) -> type | None:
    """``int`` or ``float`` for settings that hold a number, or none."""
    return {"int": int, "int | None": int, "float": float, "float | None": float}.get(
        key.annotation.__name__ if isinstance(key.annotation, type) else str(key.annotation)
    )


def _last(low: float, high: float, step: float | None) -> Any:
    """The greatest value of the form ``low + n * step`` that is not above ``high``; ``high`` itself without a step."""
    if step is None:
        return high
    exact_low, exact_step = Decimal(str(low)), Decimal(str(step))
    last = exact_low + (Decimal(str(high)) - exact_low) // exact_step * exact_step
    return type(high)(last)


def draw(parameters: Sequence[Parameter], trial: Any, project: Project) -> dict[str, Any]:
    """The values that a trial of Optuna tries, by setting; options that its translator or loss does not have are left out."""
    values: dict[str, Any] = {}
    for parameter in parameters:
        kind = parameter.key.partition(".")[0]
        if parameter.needs:
            chosen = values.get(f"{kind}.name", getattr(project.settings, kind).name)
            if chosen not in parameter.needs:
                continue
        values[parameter.key] = _suggest(parameter, trial)
    return values


def _suggest(parameter: Parameter, trial: Any) -> Any:
    if parameter.choices:
        return trial.suggest_categorical(parameter.key, parameter.choices)
    if parameter.integer:
        return trial.suggest_int(
            parameter.key, parameter.low, parameter.high, step=parameter.step or 1, log=parameter.log
        )
    return trial.suggest_float(parameter.key, parameter.low, parameter.high, step=parameter.step, log=parameter.log)
