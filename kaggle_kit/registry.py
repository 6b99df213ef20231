"""A registry: a dictionary that a decorator fills beside the code, with an error that lists the choices."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from kaggle_kit.errors import UsageError

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """A registered class, with the name it goes by and the shipped configuration that trains it as its authors did."""

    name: str
    item: T
    recipe: str | None


class Registry(Generic[T]):
    """Named classes of one kind ("translator", "loss")."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, Entry[T]] = {}

    def register(self, name: str, *, recipe: str | None = None) -> Callable[[T], T]:
        """Class decorator that files the class under ``name``; ``recipe`` names a file of ``configs/`` (without .toml)."""

        def file(item: T) -> T:
            if name in self._entries:
                raise ValueError(f"two {self.kind}s are called {name!r}")
            self._entries[name] = Entry(name, item, recipe)
            return item

        return file

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            near = difflib.get_close_matches(name, self._entries, 1)
            hint = f"did you mean {near[0]}?" if near else f"choose one of {', '.join(sorted(self._entries))}"
            raise UsageError(f"no {self.kind} is called {name!r}", hint)
        return self._entries[name].item

    def __iter__(self) -> Iterator[Entry[T]]:
        return iter(sorted(self._entries.values(), key=lambda entry: entry.name))
