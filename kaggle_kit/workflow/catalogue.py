"""What can be trained: every translator and loss with its options, defaults and recipe (imports torch)."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.config import Project
from kaggle_kit.errors import UsageError
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
        file: the project's own file that defines it; None for what the package defines.
    """

    kind: str
    name: str
    summary: str
    recipe: str | None
    options: list[Option]
    file: str | None = None


def catalogue(project: Project | None = None, name: str | None = None) -> list[CatalogueEntry]:
    """Every translator, then every loss, by name; with a ``project`` those of its own files too.

    Args:
        name: what is called so alone.

    Raises:
        UsageError: one of the project's files fails, or nothing has the name.
    """
    from kaggle_kit.training.losses import losses
    from kaggle_kit.translators import translators

    root = project.root if project is not None else None
    entries = [*_entries(translators, root), *_entries(losses, root)]
    found = [entry for entry in entries if name in (None, entry.name)]
    if name is not None and not found:
        near = difflib.get_close_matches(name, [entry.name for entry in entries], 1)
        hint = f"did you mean {near[0]}?" if near else "kk translators lists them"
        raise UsageError(f"no translator and no loss is called {name!r}", hint)
    return found


def _entries(registry: Registry[Any], root: Path | None) -> list[CatalogueEntry]:
    return [
        CatalogueEntry(
            kind=registry.kind,
            name=entry.name,
            summary=_summary(entry.item),
            recipe=entry.recipe,
            options=_options(entry.item.Options),
            file=entry.plugin.name if entry.plugin else None,
        )
        for entry in registry
        if entry.plugin is None or entry.plugin.root == root
    ]


def _summary(item: type) -> str:
    """The first paragraph of the docstring, on one line."""
    return " ".join((inspect.getdoc(item) or "").partition("\n\n")[0].split())


def _options(section: type) -> list[Option]:
    declared: Mapping[str, Any] = fields_of(section)
    return [
        Option(name, getattr(section(), name), field.metadata.get("meaning", "")) for name, field in declared.items()
    ]
