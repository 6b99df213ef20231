"""A project, its resolved settings, and where each setting came from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from kaggle_kit.competition import Competition
from kaggle_kit.config.keys import build, did_you_mean, flatten, keys_of, nearest
from kaggle_kit.errors import ConfigError, UsageError
from kaggle_kit.files import hash_of
from kaggle_kit.settings import (
    ADDED,
    OF_THE_MOMENT,
    ClusterSettings,
    DataSettings,
    FoldSettings,
    Paths,
    PluginSettings,
    RemoteSettings,
    Section,
    ServiceSettings,
    SubmitSettings,
    SweepSettings,
    TrainSettings,
    ValidationSettings,
    VerifySettings,
    WheelSettings,
)

DEFAULT_TRANSLATOR = "subspace_mlp"
DEFAULT_LOSS = "infonce"


@dataclass(frozen=True)
class ChoiceSchema:
    """What a registered translator or loss may be given.

    Attributes:
        options: the section that declares its options.
        recipe: name of the shipped configuration that trains it as its authors did; None when there is none.
    """

    options: type[Section]
    recipe: str | None = None


@dataclass(frozen=True)
class Schemas:
    """The translators and losses that exist, by name: known to layers above, handed down as an argument."""

    translators: Mapping[str, ChoiceSchema] = field(default_factory=dict)
    losses: Mapping[str, ChoiceSchema] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """A registered translator or loss with its options, complete when the project was loaded with schemas."""

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The name and the options as one table, the shape they have in TOML."""
        return {"name": self.name, **_plain(self.options)}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any] | str) -> Choice:
        """The inverse of :meth:`to_dict`; a bare name will do.

        Raises:
            ValueError: there is no name in it; the message is a sentence.
        """
        if isinstance(table, str):
            return cls(table)
        if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
            raise ValueError(f"must be a name or a table with a name, not {table!r}")
        return cls(table["name"], {name: value for name, value in table.items() if name != "name"})


@dataclass(frozen=True)
class Settings:
    """Every setting of a project, resolved: one section a subject."""

    paths: Paths = Paths()
    competition: Competition = Competition()
    plugins: PluginSettings = PluginSettings()
    data: DataSettings = DataSettings()
    folds: FoldSettings = FoldSettings()
    translator: Choice = Choice(DEFAULT_TRANSLATOR)
    loss: Choice = Choice(DEFAULT_LOSS)
    train: TrainSettings = TrainSettings()
    cluster: ClusterSettings = ClusterSettings()
    validation: ValidationSettings = ValidationSettings()
    sweep: SweepSettings = SweepSettings()
    verify: VerifySettings = VerifySettings()
    submit: SubmitSettings = SubmitSettings()
    service: ServiceSettings = ServiceSettings()
    remote: RemoteSettings = RemoteSettings()
    wheels: WheelSettings = WheelSettings()

    def to_dict(self) -> dict[str, Any]:
        """Plain, JSON-able data in the shape of the TOML files; :meth:`from_dict` is its inverse."""
        return {name: _nested(getattr(self, name)) for name in SECTIONS}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        """Settings from what :meth:`to_dict` gave; what is not in ``data`` has its default.

        Raises:
            ConfigError: unknown or ill-typed settings, all of them.
        """
        problems: list[str] = []
        arguments: dict[str, Any] = {}
        for name, table in data.items():
            if name not in SECTIONS:
                problems.append(f"{name}: no such section{did_you_mean(nearest(name, SECTIONS))}")
                continue
            arguments[name], found = _part_from(name, table)
            problems += found
        if problems:
            raise ConfigError(problems)
        return cls(**arguments)

    def digest(self) -> str:
        """SHA-256 of the settings that can change a prediction: all but folders, looking, submitting, the service and where it runs."""
        return digest_of(self.to_dict())


def digest_of(settings: Mapping[str, Any]) -> str:
    """The digest of settings as a record keeps them (:meth:`Settings.to_dict`), whichever version wrote it."""
    return hash_of(with_effect(settings))


def with_effect(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Of settings as a record keeps them, those that can change a prediction."""
    tables = {name: table for name, table in settings.items() if name not in _WITHOUT_EFFECT}
    if isinstance(train := tables.get("train"), Mapping):
        tables["train"] = {
            name: value
            for name, value in train.items()
            if name not in OF_THE_MOMENT and (name not in ADDED or value != ADDED[name])
        }
    return tables


SECTIONS: dict[str, type] = {part.name: type(part.default) for part in fields(Settings)}
"""The sections by name; a choice's options are declared by its schema."""

CHOICES = ("translator", "loss")

_WITHOUT_EFFECT = ("paths", "plugins", "cluster", "sweep", "verify", "submit", "service", "remote", "wheels")


@dataclass(frozen=True)
class SettingRow:
    """One line of ``kk config show``."""

    key: str
    value: Any
    origin: str
    meaning: str


@dataclass(frozen=True)
class Project:
    """A folder with a competition's data, runs and submissions, and the settings in force there.

    Attributes:
        root: the folder, absolute.
        settings: what is in force.
        origins: where each setting came from, by dotted key: ``--folds``, ``KK_FOLDS_COUNT``,
            ``configs/residual.toml``, ``kk.toml``, ``recipe residual_mlp``, ``competitions/<slug>.toml``, ``default``.
        meanings: what each setting means, by dotted key.
        config: the configuration file on top of ``kk.toml``, as it was named; None when there was none.
        vary: the same project with settings by dotted key on top of all places that it was loaded from, as ``overrides`` of
            :func:`load_project`; None when it was not loaded.
    """

    root: Path
    settings: Settings
    origins: Mapping[str, str] = field(default_factory=dict)
    meanings: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    config: str | None = None
    vary: Callable[[Mapping[str, Any]], Project] | None = field(default=None, repr=False, compare=False)

    @property
    def data_dir(self) -> Path:
        """Folder of the competition's files."""
        return self._folder(self.settings.paths.data)

    @property
    def models_dir(self) -> Path:
        """Folder of the training runs."""
        return self._folder(self.settings.paths.models)

    @property
    def submissions_dir(self) -> Path:
        """Folder of the submissions."""
        return self._folder(self.settings.paths.submissions)

    def rows(self, section: str | None = None) -> list[SettingRow]:
        """Every setting with its value, origin and meaning, section by section; those of one ``section`` if it is named.

        Raises:
            UsageError: there is no such section.
        """
        if section is not None and section not in SECTIONS:
            raise UsageError(
                f"no section is called {section!r}{did_you_mean(nearest(section, SECTIONS))}",
                f"sections: {', '.join(SECTIONS)}",
            )
        values: dict[str, Any] = {}
        for name in [section] if section else SECTIONS:
            part = getattr(self.settings, name)
            values |= _choice_values(name, part) if isinstance(part, Choice) else flatten(part, name)
        return [
            SettingRow(key, value, self.origins.get(key, "default"), self.meanings.get(key, ""))
            for key, value in values.items()
        ]

    def _folder(self, path: str) -> Path:
        return self.root / Path(path).expanduser()


def _choice_values(name: str, choice: Choice) -> dict[str, Any]:
    return {f"{name}.name": choice.name} | {f"{name}.{option}": value for option, value in choice.options.items()}


def _nested(part: Any) -> dict[str, Any]:
    """A section as nested plain tables."""
    if isinstance(part, Choice):
        return part.to_dict()
    inner = {item.name: getattr(part, item.name) for item in fields(part)}
    return {name: _nested(value) if isinstance(value, Section) else _plain(value) for name, value in inner.items()}


def _plain(value: Any) -> Any:
    """Tuples as lists, mappings as dictionaries: what JSON would make of them."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def _part_from(name: str, table: Any) -> tuple[Any, list[str]]:
    """A section or choice from a nested table, with its problems."""
    if name not in CHOICES:
        return _section_from(SECTIONS[name], name, table)
    try:
        return Choice.from_dict(table), []
    except ValueError as error:
        return None, [f"{name}: {error}"]


def _section_from(section: type[Section], name: str, table: Any) -> tuple[Any, list[str]]:
    """A section from a nested table, with its problems."""
    if not isinstance(table, Mapping):
        return None, [f"{name}: must be a table of settings, not {table!r}"]
    keys = keys_of(section, name)
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key, value in flatten_table(table, name, keys):
        if key not in keys:
            problems.append(f"{key}: no such setting{did_you_mean(nearest(key, keys))}")
            continue
        try:
            values[key] = keys[key].accept(value, text=False)
        except ValueError as error:
            problems.append(f"{key}: {error}")
    built, crossed = build(section, name, values)
    return built, problems + crossed


def flatten_table(table: Any, prefix: str, leaves: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Nested tables as (dotted key, value) pairs; a table that is itself a setting's value stays whole."""
    if not isinstance(table, Mapping) or prefix in leaves:
        return [(prefix, table)]
    return [pair for name, value in table.items() for pair in flatten_table(value, f"{prefix}.{name}", leaves)]
