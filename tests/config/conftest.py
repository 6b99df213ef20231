"""Schemas as the layers above would hand them down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kaggle_kit.config import ChoiceSchema, Project, Schemas, load_project
from kaggle_kit.errors import ConfigError
from kaggle_kit.settings import POSITIVE, Section, at_least, setting


@dataclass(frozen=True)
class NetworkOptions(Section):
    hidden: int = setting(16, "hidden width", at_least(1))
    dropout: float = setting(0.2, "dropout")
    bias: bool = setting(True, "whether the layers have a bias")
    widths: tuple[int, ...] = setting((), "widths of further layers")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.hidden < len(self.widths):
            raise ConfigError(
                [f"hidden: must be at least the number of widths ({len(self.widths)}), not {self.hidden}"]
            )


@dataclass(frozen=True)
class RidgeOptions(Section):
    strength: float | None = setting(None, "lambda; none: chosen by validation", POSITIVE)


@dataclass(frozen=True)
class TemperatureOptions(Section):
    temperature: float = setting(0.07, "temperature", POSITIVE)


@dataclass(frozen=True)
class NoOptions(Section):
    """A loss without options."""


SCHEMAS = Schemas(
    translators={
        "subspace_mlp": ChoiceSchema(NetworkOptions),
        "mlp": ChoiceSchema(NetworkOptions),
        "ridge": ChoiceSchema(RidgeOptions),
    },
    losses={"infonce": ChoiceSchema(TemperatureOptions), "mse": ChoiceSchema(NoOptions)},
)


@pytest.fixture
def schemas() -> Schemas:
    return SCHEMAS


@pytest.fixture
def write(clean_world: Path) -> Callable[[str, str], Path]:
    """Write a file below the current folder."""

    def write(name: str, text: str) -> Path:
        path = clean_world / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def problems_of(schemas: Schemas) -> Callable[..., list[str]]:
    """The problems that loading a project reports; none is a failure."""

    def problems_of(**arguments: object) -> list[str]:
        with pytest.raises(ConfigError, match=r".") as caught:
            load_project(schemas=schemas, **arguments)
        return caught.value.problems

    return problems_of


@pytest.fixture
def load(schemas: Schemas) -> Callable[..., Project]:
    """Load the project in the current folder with the test's schemas and environment."""

    def load(**arguments: object) -> Project:
        return load_project(**{"schemas": schemas, "environ": {}, **arguments})

    return load
