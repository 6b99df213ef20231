"""One HTML page that needs nothing but itself: tables that sort, figures as inline SVG, pictures inside; everything escaped."""

from __future__ import annotations

import base64
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kaggle_kit.errors import UsageError

TEMPLATE = "page.html"
PICTURE_BYTES = 600_000
"""All thumbnails of a page together, before base64."""
_OVERRIDES = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}
"""Characters that turn the direction of what follows: they could make one text look like another."""


@dataclass(frozen=True)
class Cell:
    """What stands in a cell, and by what it is sorted; None is always last. ``whole``: never broken over lines."""

    text: str
    sort: float | str | None = None
    mono: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Table:
    """A table that a reader can sort.

    Attributes:
        title: its caption.
        columns: names; those that begin with ``#`` hold numbers, aligned right.
        rows: cells, as many as there are columns.
        strong: rows that stand out.
        note: a sentence below it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    strong: frozenset[int] = frozenset()
    note: str = ""


@dataclass(frozen=True)
class Drawing:
    """A figure as an ``<svg>`` element, and what it shows."""

    svg: str
    title: str


@dataclass(frozen=True)
class Picture:
    """One retrieved image: its thumbnail as a data address, or its name alone."""

    name: str
    label: str
    right: bool
    source: str | None


@dataclass(frozen=True)
class Strip:
    """A caption with the pictures that were retrieved for it."""

    caption: str
    detail: str
    pictures: tuple[Picture, ...]


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading of its own."""

    name: str
    title: str
    lines: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[Table, ...] = ()
    drawings: tuple[Drawing, ...] = ()
    strips: tuple[tuple[str, tuple[Strip, ...]], ...] = ()


@dataclass(frozen=True)
class Page:
    """The whole page."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    footer: str


def require_page() -> None:
    """Refuse a page that could not be made, before any work is done for it.

    Raises:
        UsageError: Jinja2 or matplotlib is not installed.
    """
    missing = [name for name in ("jinja2", "matplotlib") if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"a report needs {' and '.join(missing)}, not installed here",
            f'pip install {" ".join(missing)}, or install kaggle_kit with its extra: pip install ".[plots]"',
        )


def write_page(page: Page) -> bytes:
    """The page as UTF-8 HTML."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    return environment.get_template(TEMPLATE).render(page=page).encode("utf-8")


def _printable(value: Any) -> Any:
    """Text without what HTML forbids and without overrides of direction, which are shown as escapes instead."""
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return "".join(map(_visible, value))


def _visible(letter: str) -> str:
    if letter in "\n\t":
        return " "
    if unicodedata.category(letter) in ("Cc", "Cs", "Cn") or ord(letter) in _OVERRIDES:
        return f"\\x{ord(letter):02x}" if ord(letter) < 256 else f"\\u{ord(letter):04x}"
    return letter


class Thumbnails:
    """Small pictures as data addresses, each made once, as many as the page has room for.

    Args:
        read: a picture's name to its JPEG; None when it is missing.
        most: bytes of all of them together.
    """

    def __init__(self, read: Callable[[str], bytes | None], most: int = PICTURE_BYTES) -> None:
        self._read, self._room = read, most
        self._known: dict[str, str | None] = {}
        self.left_out = 0

    def __getitem__(self, name: str) -> str | None:
        """The picture ``name`` as a data address; None when it is missing, or there is no room."""
        if name not in self._known:
            jpeg = self._read(name)
            if jpeg is not None and len(jpeg) > self._room:
                self.left_out, jpeg = self.left_out + 1, None
            self._room -= len(jpeg or b"")
            address = None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"
            self._known[name] = address
        return self._known[name]


def number_cell(value: float | None, digits: int = 4, *, error: float | None = None, sign: bool = False) -> Cell:
    """A number, with its error when there is one; empty without one."""
    if value is None or value != value:
        return Cell("")
    text = f"{value:{'+' if sign else ''},.{digits}f}"
    return Cell(f"{text} ± {error:.{digits}f}" if error is not None and error == error else text, float(value))


def text_cell(value: Any, *, mono: bool = False) -> Cell:
    """A text, sorted without regard to case; empty for None."""
    text = "" if value is None else str(value)
    return Cell(text, text.casefold() or None, mono)


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]], **more: Any) -> Table:
    """A table from any sequences."""
    return Table(title, tuple(columns), tuple(tuple(row) for row in rows), **more)


def fact_list(facts: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Names and values as text; what has no value is left out."""
    return tuple((name, str(value)) for name, value in facts.items() if value not in (None, ""))
