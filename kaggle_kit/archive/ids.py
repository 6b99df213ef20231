"""Names of records: date, name and hash, never a counter that has to be scanned."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from datetime import UTC, datetime

from kaggle_kit.errors import MissingError, UsageError

NEWEST = "newest"
LONGEST_NAME = 40
HASH_DIGITS = 6


def utc_now() -> datetime:
    """This instant, aware, in UTC."""
    return datetime.now(UTC)


def timestamp(moment: datetime) -> str:
    """``moment`` as records keep it: ISO 8601, UTC, milliseconds, such as ``2026-11-23T14:15:03.250Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def new_id(name: str, now: datetime, content_hash: str) -> str:
    """A record's id, such as ``20261123-141503-residual_mlp-1a2b3c``.

    Args:
        name: anything; what does not belong into a folder's name becomes ``_``.
        now: aware time, brought to UTC.
        content_hash: hexadecimal; its first digits tell records of the same second apart.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]+", "_", name).strip("_.-")[:LONGEST_NAME].rstrip("_.-")
    return f"{now.astimezone(UTC):%Y%m%d-%H%M%S}-{plain or 'unnamed'}-{content_hash[:HASH_DIGITS]}"


def resolve(wanted: str, ids: Sequence[str], kind: str, command: str) -> str:
    """The one of ``ids`` that ``wanted`` means: the id itself, its beginning, or its closing hash.

    Args:
        wanted: what the user typed.
        ids: the ids there are, newest first.
        kind: what they are the ids of, for the error text.
        command: the command that lists them, for the hint.

    Raises:
        MissingError: none of them; the message has the nearest ones.
        UsageError: several of them.
    """
    if wanted in ids:
        return wanted
    for fits in (lambda one: one.startswith(wanted), lambda one: one.rsplit("-", 1)[-1].startswith(wanted)):
        found = [one for one in ids if wanted and fits(one)]
        if len(found) > 1:
            listed = ", ".join(found[:5]) + (", …" if len(found) > 5 else "")
            raise UsageError(f"{wanted!r} could be {len(found)} {kind}s: {listed}", "give more of the id")
        if found:
            return found[0]
    near = difflib.get_close_matches(wanted, ids, n=3, cutoff=0.5) or [one for one in ids if wanted in one][:3]
    instead = f"; did you mean {' or '.join(near)}?" if near else ""
    raise MissingError(f"no {kind} {wanted!r}{instead}", f"{command} shows them")
