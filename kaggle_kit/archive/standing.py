"""The team's place on the public leaderboard over time: ``submissions_archive/standing-<slug>.json``, one entry a look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kaggle_kit.archive.fields import is_count, is_moment
from kaggle_kit.archive.ids import timestamp, utc_now
from kaggle_kit.errors import KaggleKitError
from kaggle_kit.files import OWNER_ONLY, read_json, write_json

LONGEST = 1000


@dataclass(frozen=True)
class Standing:
    """A place, when it was looked up (ISO 8601, UTC), and of how many teams; None where the service did not say."""

    at: str
    rank: int
    teams: int | None = None


def read_standings(folder: Path, slug: str) -> list[Standing]:
    """Every place that was looked up, oldest first; a file or an entry that cannot be read counts as none."""
    try:
        entries = read_json(_path(folder, slug))
    except KaggleKitError:
        return []
    if not isinstance(entries, list):
        return []
    return [Standing(one["at"], one["rank"], one.get("teams")) for one in entries if _is_standing(one)]


def _is_standing(entry: Any) -> bool:
    """Whether an entry is whole: the file is anybody's to edit, and to damage."""
    if not isinstance(entry, dict) or not is_moment(entry.get("at")) or not is_count(entry.get("rank")):
        return False
    return entry.get("teams") is None or is_count(entry["teams"])


def add_standing(folder: Path, slug: str, rank: int, teams: int | None) -> None:
    """Remember where the team stands now."""
    known = [*read_standings(folder, slug), Standing(timestamp(utc_now()), rank, teams)]
    write_json(_path(folder, slug), [asdict(one) for one in known[-LONGEST:]], mode=OWNER_ONLY)


def standing_change(standings: Sequence[Standing]) -> int | None:
    """Places won since the look before the last one, negative when lost; None when there was none."""
    return standings[-2].rank - standings[-1].rank if len(standings) > 1 else None


def read_limit(folder: Path, slug: str) -> int | None:
    """Submissions a day, as the service told last; None when it never did."""
    try:
        limit = read_json(_limit_path(folder, slug))["per_day"]
    except (KaggleKitError, KeyError, TypeError):
        return None
    return limit if is_count(limit) else None


def remember_limit(folder: Path, slug: str, per_day: int) -> None:
    """Keep how many submissions a day the service allows, so that what is left can be told without asking it."""
    if read_limit(folder, slug) != per_day:
        write_json(_limit_path(folder, slug), {"per_day": per_day}, mode=OWNER_ONLY)


def _limit_path(folder: Path, slug: str) -> Path:
    return folder / f"limit-{slug}.json"


def _path(folder: Path, slug: str) -> Path:
    return folder / f"standing-{slug}.json"
