"""The version of the package, in one place, and how the commit of code is told."""

from collections.abc import Mapping
from typing import Any

VERSION = "0.1.0"


def commit_text(git: Mapping[str, Any] | None, digits: int | None = 12) -> str | None:
    """The first ``digits`` (None: all) of the commit in a record's provenance, and whether files differed from it; None without one."""
    commit = str((git or {}).get("commit") or "")[:digits]
    return f"{commit}, with local changes" if commit and git and git.get("dirty") else commit or None
