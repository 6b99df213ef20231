"""A registry: a dictionary that a decorator fills beside the code, with an error that lists the choices."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from kaggle_kit.errors import UsageError
from kaggle_kit.plugins import Plugin, run_declared, running

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered class.

    Attributes:
        name: what it goes by.
        item: the class.
        recipe: the shipped configuration that trains it as its authors did.
        plugin: the project's file that defines it; None for what the package defines.
    """

    name: str
    item: T
    recipe: str | None
    plugin: Plugin | None = None


class Registry(Generic[T]):
    """Named classes of one kind ("translator", "loss"): the package's, and those of the project's own files."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, *, recipe: str | None = None) -> Callable[[T], T]:
        """Class decorator that files the class under ``name``; ``recipe`` names a file of ``configs/`` (without .toml)."""

        def file(item: T) -> T:
            plugin, known = running(), self._entries.get(name)
            if known is not None and not _replaces(plugin, known.plugin):
                where = f", the other one in {known.plugin.name}" if known.plugin else ", the other one is built in"
                raise ValueError(f"two {self.kind}s are called {name!r}{where if plugin else ''}")
            self._entries[name] = Entry(name, item, recipe, plugin)
            return item

        return file

    def entry(self, name: str) -> Entry[T]:
        """What is filed under ``name``.

        Raises:
            UsageError: nothing is, or a file of the project fails.
        """
        entry = self._entries.get(name)
        if entry is None or entry.plugin is not None:  # the project's files are run when they are needed, or changed
            run_declared()
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, 1)
            hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(sorted(self._entries))}"
            raise UsageError(f"no {self.kind} is called {name!r}", hint)
        return self._entries[name]

    def __getitem__(self, name: str) -> T:
        return self.entry(name).item

    def __iter__(self) -> Iterator[Entry[T]]:
        run_declared()
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))


def _replaces(plugin: Plugin | None, former: Plugin | None) -> bool:
    """Whether a file may define again what another defined: the same file, changed, or a file of another project."""
    return plugin is not None and former is not None and (plugin.path == former.path or plugin.root != former.root)


def says_of_itself(kind: type, flag: str, *methods: str) -> bool:
    """Whether a class says ``flag = True`` of its methods: a subclass with methods of its own has to say so again.

    Args:
        kind: the class.
        flag: name of the class attribute.
        methods: what the flag is about.
    """
    said = next((one for one in kind.__mro__ if flag in vars(one)), None)
    if said is None or not vars(said)[flag]:
        return False
    written = [next((one for one in kind.__mro__ if method in vars(one)), object) for method in methods]
    return all(issubclass(said, one) for one in written)
