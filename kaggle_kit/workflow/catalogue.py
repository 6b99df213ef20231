"""What can be trained: every translator and loss with its options, defaults and recipe (imports torch)."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kaggle_kit.registry import Registry
from kaggle_kit.settings import fields_of


@dataclass(frozen=True)
class Option:
    """One option: its name, default and meaning."""

    name: str
    default: Any
    meaning: str


@dataclass(frozen=True)
class CatalogueEntry:
    """A translator or a loss.

    Attributes:
        kind: ``translator`` or ``loss``.
        name: what it is selected by.
        summary: the first sentence about it.
        recipe: the shipped configuration that is in force unless something else is said; None when there is none.
        options: what it may be given.
    """

    kind: str
    name: str
    summary: str
    recipe: str | None
    options: list[Option]


def catalogue() -> list[CatalogueEntry]:
    """Every translator, then every loss, by name."""
    from kaggle_kit.training.losses import losses
    from kaggle_kit.translators import translators

    return [*_entries(translators), *_entries(losses)]


def _entries(registry: Registry[Any]) -> list[CatalogueEntry]:
    return [
        CatalogueEntry(registry.kind, entry.name, _summary(entry.item), entry.recipe, _options(entry.item.Options))
        for entry in registry
    ]


def _summary(item: type) -> str:
    """The first paragraph of the docstring, on one line."""
    return " ".join((inspect.getdoc(item) or "").partition("\n\n")[0].split())


def _options(section: type) -> list[Option]:
    declared: Mapping[str, Any] = fields_of(section)
    return [
        Option(name, getattr(section(), name), field.metadata.get("meaning", "")) for name, field in declared.items()
    ]
