"""Words and numbers as people read them; text from outside made harmless."""

from __future__ import annotations

import math
import unicodedata
from datetime import UTC, datetime
from typing import Any

from kaggle_kit.progress import size as size

# controls, formats (bidirectional overrides, zero width), surrogates, line and paragraph separators
_UNSAFE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def clean(text: object) -> str:
    """``text`` on one line, without anything that moves a terminal's cursor, changes its colours or hides characters.

    White space becomes a space; other control and format characters are written as escapes (``\\x1b``).
    """
    text = str(text)
    return text if text.isprintable() else "".join(_visible(character) for character in text)


def _visible(character: str) -> str:
    if character in "\t\n\r\v\f":
        return " "
    if unicodedata.category(character) not in _UNSAFE:
        return character
    return (
        character.encode("ascii", "backslashreplace").decode("ascii")
        if ord(character) > 127
        else f"\\x{ord(character):02x}"
    )


def number(value: Any, digits: int = 4) -> str:
    """A number with ``digits`` decimals; empty when there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return f"{value:.{digits}f}"


def signed(value: Any, digits: int = 4) -> str:
    """A difference with its sign; empty when there is none."""
    shown = number(value, digits)
    return f"+{shown}" if shown and not shown.startswith("-") else shown


def figure(value: Any, digits: int = 4) -> str:
    """A figure beside a progress bar, short: ``digits`` significant digits, thousands with commas."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return clean(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def duration(seconds: float | None) -> str:
    """A time span: ``8.2 s``, ``4 min 10 s``, ``2 h 05 min``; a dash when unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "-"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def clock(seconds: float | None) -> str:
    """Time left, as short as a clock: ``0:42``, ``1:02:03``; dashes when unknown."""
    if seconds is None or not math.isfinite(seconds):
        return "-:--"
    whole = round(seconds)
    minutes = f"{whole // 60 % 60:02d}:{whole % 60:02d}"
    return f"{whole // 3600}:{minutes}" if whole >= 3600 else minutes.removeprefix("0")


def moment(value: Any, form: str = "%Y-%m-%d %H:%M") -> str:
    """A UTC moment (ISO text or datetime) as local time to the minute; other text as it stands."""
    if not value:
        return ""
    try:
        when = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return clean(value)
    aware = when if when.tzinfo else when.replace(tzinfo=UTC)
    return aware.astimezone().strftime(form)


def day(value: Any) -> str:
    """A moment as short as a table wants it: ``23 Nov 14:15``."""
    return moment(value, "%d %b %H:%M")


def counted(count: int, singular: str, plural: str = "") -> str:
    """``1 row``, ``1,500 rows``."""
    return f"{count:,} {singular if count == 1 else plural or singular + 's'}"
