"""Results as small HTML tables, for notebooks; whatever comes from outside is escaped."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence

LEFT = ' style="text-align:left"'
"""Notebooks align to the right, which is for numbers."""


def escaped(value: object) -> str:
    """``value`` as text that is no markup; characters that cannot be seen become blanks."""
    return html.escape("".join(letter if letter.isprintable() else " " for letter in str(value)))


def facts_table(facts: Mapping[str, object]) -> str:
    """Names and values, one a row; those without a value are left out."""
    shown = {name: value for name, value in facts.items() if value not in (None, "")}
    rows = "".join(
        f"<tr><th{LEFT}>{escaped(name)}</th><td{LEFT}>{escaped(value)}</td></tr>" for name, value in shown.items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def rows_table(columns: Sequence[str], rows: Iterable[Sequence[object]], notes: Iterable[str] = ()) -> str:
    """A table with a head, and a paragraph for each note."""
    head = "".join(f"<th{LEFT}>{escaped(column)}</th>" for column in columns)
    body = "".join(f"<tr>{''.join(f'<td{LEFT}>{escaped(value)}</td>' for value in row)}</tr>" for row in rows)
    said = "".join(f"<p>{escaped(note)}</p>" for note in notes)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{said}"
