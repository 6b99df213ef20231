"""Resolve a project: find its folder, stack the layers, report every problem at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kaggle_kit.config.keys import Key, build, did_you_mean, keys_of, nearest
from kaggle_kit.config.layers import (
    ALIASES,
    Entry,
    Layer,
    all_keys,
    description_layer,
    environment_layer,
    file_layer,
    override_layer,
)
from kaggle_kit.config.model import CHOICES, SECTIONS, Choice, ChoiceSchema, Project, Schemas, Settings
from kaggle_kit.config.places import (
    PROJECT_FILE,
    find_config,
    find_description,
    find_root,
    is_description_path,
    shipped_configs,
    slug_of,
)
from kaggle_kit.config.values import convert, guess
from kaggle_kit.errors import ConfigError, MissingError, UsageError
from kaggle_kit.plugins import declare, find_plugins


def load_project(
    start: Path | str | None = None,
    *,
    config: Path | str | None = None,
    overrides: Mapping[str, Any] | None = None,
    origins: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    schemas: Schemas | Callable[[], Schemas] | None = None,
) -> Project:
    """The project at or above ``start`` with its settings resolved.

    Precedence: ``overrides`` over ``KK_*`` variables over the file ``config`` over ``kk.toml`` over the recipe of the
    chosen translator over the competition's description over defaults. A layer that names a translator (or loss, or
    competition) speaks of that one only: its other options are left out when a higher layer names another.

    Args:
        start: folder to look in first; the current one when None.
        config: path of a TOML file, or the name of a shipped one (``configs/residual.toml``, ``residual``).
        overrides: settings by dotted key; text is parsed.
        origins: which flag gave an override, by its key, for messages and origins.
        environ: environment variables; the process's own when None.
        schemas: what translators and losses exist. Without them their options are carried unchecked and no recipe
            applies; only commands that train need them, and collecting them imports torch.

    Raises:
        ConfigError: one or more settings are unknown, ill-typed or out of range; every one is named.
        MissingError: ``config`` is nowhere.
        UsageError: ``start`` is no folder.
    """
    root = find_root(start)
    layers = [
        override_layer(overrides or {}, origins or {}),
        environment_layer(os.environ if environ is None else environ),
    ]
    elsewhere = [layers[1]]
    if config is not None:
        layers.append(file_layer(*find_config(config, root)))
        elsewhere.append(layers[-1])
    if (root / PROJECT_FILE).is_file():
        layers.append(file_layer(root / PROJECT_FILE, PROJECT_FILE))
    declare(root, _own_code(root, layers, elsewhere))
    return _resolved(root, layers, schemas() if callable(schemas) else schemas, None if config is None else str(config))


def _own_code(root: Path, layers: Sequence[Layer], elsewhere: Sequence[Layer]) -> list[str]:
    """The project's own files of Python; only its ``kk.toml``, or a flag, may say what is run. Problems go to the layers."""
    files: list[str] = []
    for layer in reversed(layers):  # the highest has the last word
        entry = layer.entries.get("plugins.files")
        if entry is None:
            continue
        if layer in elsewhere:
            layer.problems.append(f"{entry.label}: only {PROJECT_FILE} says which files of Python are run")
            continue
        with suppress(ValueError):  # of another type: told with the others
            names = convert(list[str], entry.value, text=entry.text)
            try:
                files = find_plugins(root, names)
            except ValueError as error:
                layer.problems.append(f"{entry.label}: {error}")
    return files


def _resolved(root: Path, layers: Sequence[Layer], schemas: Schemas | None, config: str | None) -> Project:
    """The project that ``layers``, highest first, make of the folder ``root``."""

    def vary(overrides: Mapping[str, Any]) -> Project:
        origins = dict.fromkeys(overrides, "--set")
        return _resolved(root, [override_layer(overrides, origins), *layers], schemas, config)

    return replace(_Resolution(root, layers, schemas).project(), config=config, vary=vary)


_FLOORS = {"train.min_steps": "train.epochs"}
"""Settings that let another count for more than it says: below a layer that names the other, they no longer hold."""


@dataclass(frozen=True)
class _Given:
    """A setting that won: its value, where it came from and how that place calls it."""

    value: Any
    origin: str
    label: str


class _Resolution:
    """One pass over the layers, highest first, collecting values and problems."""

    def __init__(self, root: Path, layers: Sequence[Layer], schemas: Schemas | None) -> None:
        self.root = root
        self.layers = list(layers)
        self.schemas = schemas
        self.keys = all_keys()  # and the options of the choices in force, once these are known
        self.problems: list[str] = []
        self.unknown_names: list[str] = []
        self.names = {"translator": self._chosen("translator")}
        self._add_recipe()
        self.names["loss"] = self._chosen("loss")
        self.names["competition"] = self._reference()
        self.description = self._description()
        self.layers += [self.description]
        self.keys |= self._option_keys()

    def project(self) -> Project:
        """The project, or every problem at once."""
        given = self._merge()
        settings = self._settings(given)
        problems = [problem for layer in self.layers for problem in layer.problems] + self.problems
        if problems:
            about_choices = all(problem in self.unknown_names for problem in problems)
            hint = "kk translators lists translators and losses with their options" if about_choices else ""
            raise ConfigError(list(dict.fromkeys(problems)), hint)
        meanings = {key: known.meaning for key, known in self.keys.items()}
        return Project(self.root, settings, {key: item.origin for key, item in given.items()}, meanings)

    def _chosen(self, kind: str) -> str:
        """The name of the translator or loss in force; a name that no schema knows is a problem."""
        entry = self._highest(f"{kind}.name")
        if entry is None:
            return str(self.keys[f"{kind}.name"].default)
        known = self._schemas_of(kind)
        if known and isinstance(entry.value, str) and entry.value not in known:
            near = nearest(entry.value, known)
            choices = did_you_mean(near) or f"; choose one of {', '.join(sorted(known))}"
            self.unknown_names.append(f"{entry.label}: no {kind} is called {entry.value!r}{choices}")
            self.problems.append(self.unknown_names[-1])
        return str(entry.value)

    def _reference(self) -> str:
        """The slug, or the path of a description, of the competition in force."""
        entry = self._highest("competition.slug")
        if entry is None:
            return str(self.keys["competition.slug"].default)
        try:
            return _canonical(entry.value)
        except ValueError as error:
            self.problems.append(f"{entry.label}: {error}")
            return str(self.keys["competition.slug"].default)

    def _highest(self, key: str, above: Layer | None = None) -> Entry | None:
        """The entry of the highest layer that has ``key``, the layer ``above`` not counted."""
        return next((layer.entries[key] for layer in self.layers if key in layer.entries and layer is not above), None)

    def _add_recipe(self) -> None:
        """Put the hyper-parameters of the chosen translator's authors below everything that the user said."""
        name = self.names["translator"]
        schema = self._schemas_of("translator").get(name)
        if schema and schema.recipe:
            path = shipped_configs()[schema.recipe]
            self.layers.append(file_layer(path, f"configs/{schema.recipe}.toml", f"recipe {name}"))

    def _description(self) -> Layer:
        """What is known of the competition in force, the lowest layer above the defaults; empty when nothing is."""
        reference = self.names["competition"]
        try:
            found = find_description(reference, self.root)
        except MissingError as error:
            entry = self._highest("competition.slug")
            return Layer(problems=[f"{entry.label if entry else 'competition'}: {error.message}"])
        layer = description_layer(*found) if found else Layer()
        self._check_slug(layer.entries.get("competition.slug"), reference)
        return layer

    def _check_slug(self, entry: Entry | None, reference: str) -> None:
        """A description says which competition it is about; a file found by its slug must be about that slug."""
        if entry is None or (is_description_path(reference) and _is_slug(entry.value)):
            return
        if entry.value != reference:
            self.problems.append(
                f"{entry.label}: must be {Path(reference).stem}, the name of the file, not {entry.value!r}"
            )

    def _merge(self) -> dict[str, _Given]:
        """The winning value of each key; the layers' ill entries become problems, whether they would win or not."""
        given: dict[str, _Given] = {}
        for layer in self.layers:
            moot = {floor for floor, number in _FLOORS.items() if number in given}
            for entry in layer.entries.values():
                for value in self._accepted(entry, layer):
                    if entry.key not in moot and self._about_the_choice(entry, layer):
                        given.setdefault(entry.key, _Given(value, entry.origin, entry.label))
        self._set_slug(given)
        for key, known in self.keys.items():
            given.setdefault(key, _Given(known.default, "default", key))
        return given

    def _accepted(self, entry: Entry, layer: Layer) -> Iterator[Any]:
        """The entry's value as its setting holds it; nothing, and a problem, when it cannot."""
        keys = self._keys_for(entry, layer)
        if keys is None:
            yield guess(entry.value) if entry.text else entry.value
            return
        if entry.key not in keys:
            self.problems.append(f"{entry.label}: {self._unknown(entry, layer, keys)}")
            return
        try:
            yield keys[entry.key].accept(entry.value, text=entry.text)
        except ValueError as error:
            self.problems.append(f"{entry.label}: {error}")

    def _keys_for(self, entry: Entry, layer: Layer) -> Mapping[str, Key] | None:
        """The keys that the entry may be one of; None when nobody knows the options of its choice."""
        kind = entry.key.partition(".")[0]
        if kind not in CHOICES or entry.key == f"{kind}.name":
            return self.keys
        schema = self._schemas_of(kind).get(self._name_in(layer, kind))
        return keys_of(schema.options, kind) if schema else None

    def _unknown(self, entry: Entry, layer: Layer, keys: Mapping[str, Key]) -> str:
        kind, _, rest = entry.key.partition(".")
        near = nearest(entry.key, keys)
        suggestion = did_you_mean(near and entry.name_there(near))
        if kind in CHOICES:
            options = ", ".join(key.removeprefix(f"{kind}.") for key in keys) or "none"
            return f"{kind} {self._name_in(layer, kind)} has no such option{suggestion or f'; it has {options}'}"
        if kind not in SECTIONS and rest:
            section = nearest(kind, SECTIONS)
            return f"no such section [{kind}]{suggestion or did_you_mean(section and f'[{section}]')}"
        return f"no such setting{suggestion}"

    def _about_the_choice(self, entry: Entry, layer: Layer) -> bool:
        """Whether the entry speaks of the choice in force, not of another one that its layer names."""
        kind = entry.key.partition(".")[0]
        return kind not in self.names or self._name_in(layer, kind) == self.names[kind]

    def _name_in(self, layer: Layer, kind: str) -> str:
        """The choice that a layer's entries of ``kind`` are about: the one it names, else the one in force."""
        entry = layer.entries.get("competition.slug" if kind == "competition" else f"{kind}.name")
        if entry is None or layer is self.description:
            return self.names[kind]
        try:
            return _canonical(entry.value) if kind == "competition" else str(entry.value)
        except ValueError:
            return self.names[kind]

    def _set_slug(self, given: dict[str, _Given]) -> None:
        """Replace a URL or path by the slug it stands for."""
        slug = reference = self.names["competition"]
        entry = self._highest("competition.slug", above=self.description)
        if is_description_path(reference):
            stated = self.description.entries.get("competition.slug")
            slug = str(stated.value) if stated and _is_slug(stated.value) else Path(reference).stem
        origin, label = (entry.origin, entry.label) if entry else ("default", "competition.slug")
        given["competition.slug"] = _Given(slug, origin, label)

    def _settings(self, given: Mapping[str, _Given]) -> Settings:
        values = {key: item.value for key, item in given.items()}
        parts: dict[str, Any] = {}
        for name, section in SECTIONS.items():
            if name in CHOICES:
                parts[name] = self._choice(name, given)
                continue
            parts[name], problems = build(section, name, values)
            self.problems += [self._placed(problem, given) for problem in problems]
        return Settings(**parts)

    def _choice(self, kind: str, given: Mapping[str, _Given]) -> Choice:
        """The chosen translator or loss; with a schema, rules across its options are checked."""
        values = {key: item.value for key, item in given.items() if key.startswith(f"{kind}.")}
        del values[f"{kind}.name"]
        name = self.names[kind]
        schema = self._schemas_of(kind).get(name)
        if schema:
            _, problems = build(schema.options, kind, values)
            self.problems += [self._placed(problem, given) for problem in problems]
        return Choice(name, {key.removeprefix(f"{kind}."): value for key, value in values.items()})

    def _placed(self, problem: str, given: Mapping[str, _Given]) -> str:
        """A problem that starts with a dotted key, with the place that set it named before."""
        key, _, rest = problem.partition(": ")
        return f"{given[key].label}: {rest}" if key in given and rest else problem

    def _option_keys(self) -> dict[str, Key]:
        """The options of the choices in force."""
        keys: dict[str, Key] = {}
        for kind in CHOICES:
            schema = self._schemas_of(kind).get(self.names.get(kind, ""))
            keys |= keys_of(schema.options, kind) if schema else {}
        return keys

    def _schemas_of(self, kind: str) -> Mapping[str, ChoiceSchema]:
        if self.schemas is None:
            return {}
        return self.schemas.translators if kind == "translator" else self.schemas.losses


def _canonical(reference: Any) -> str:
    """A competition's reference in the one form that can be compared: a path as it stands, else the slug."""
    if not isinstance(reference, str):
        raise ValueError(f"must be a competition's slug, its URL or the path of a .toml description, not {reference!r}")
    return reference if is_description_path(reference) else slug_of(reference)


def _is_slug(value: Any) -> bool:
    try:
        return isinstance(value, str) and slug_of(value) == value
    except ValueError:
        return False


def setting_key(name: str) -> str:
    """The dotted key that a keyword argument means: ``folds``, ``epochs``, ``data__share``, ``translator``.

    Raises:
        UsageError: no setting goes by that name, or several do.
    """
    keys, dotted = all_keys(), name.replace("__", ".")
    if dotted in keys:
        return dotted
    if dotted in ALIASES:
        return ALIASES[dotted]
    if name == "folds":
        return "folds.count"
    fitting = [key for key in keys if key.rpartition(".")[2] == name]
    fitting = [key for key in fitting if key.startswith("train.")] or fitting
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        ways = ", ".join(key.replace(".", "__") for key in fitting)
        raise UsageError(f"several settings are called {name!r}", f"say which: {ways}")
    leaves = {key.rpartition(".")[2]: key for key in keys}
    raise UsageError(
        f"no setting is called {name!r}{did_you_mean(nearest(name, leaves))}", "kk config show lists every setting"
    )
