"""What the service tells, as plain records; read so that a missing or oddly typed field never stops the work."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from kaggle_kit.kaggle_service.failures import clean

Row = Mapping[str, Any]

STATUSES = ("PENDING", "COMPLETE", "ERROR")
_INTEGER = re.compile(r"[+-]?[0-9]{1,40}")


@dataclass(frozen=True)
class CompetitionInfo:
    """A competition as the service describes it.

    Attributes:
        entered: rules accepted and joined; None when the service does not say.
        deadline: aware, UTC; None when there is none.
        max_daily_submissions: None when the service does not say.
        code_only: only notebooks can be submitted.
    """

    slug: str
    title: str
    url: str
    deadline: datetime | None
    max_daily_submissions: int | None
    entered: bool | None
    submissions_disabled: bool
    code_only: bool
    user_rank: int | None
    evaluation_metric: str
    team_count: int | None


@dataclass(frozen=True)
class RemoteFile:
    """A file of a competition: its name with folders, its size in bytes (None when not told), when it was made."""

    name: str
    size: int | None
    created: datetime | None


@dataclass(frozen=True)
class Limits:
    """How many submissions are left.

    Attributes:
        used_today: submissions since midnight UTC that count.
        allowed_now: how many may be made now; None when the service tells neither this nor the daily limit.
        per_day: the daily limit; None when not told.
        resets: when the count starts anew.
    """

    used_today: int
    allowed_now: int | None
    per_day: int | None
    resets: datetime


@dataclass(frozen=True)
class RemoteSubmission:
    """A submission as the service sees it; ``status`` is PENDING, COMPLETE or ERROR."""

    ref: int
    date: datetime | None
    description: str
    status: str
    public_score: float | None
    private_score: float | None
    error_description: str
    file_name: str
    team_name: str
    submitted_by: str


@dataclass(frozen=True)
class LeaderboardRow:
    """One team's place on the public leaderboard; ``rank`` counts from 1."""

    rank: int
    team: str
    score: float | None
    date: datetime | None


def competition_of(row: Row, slug: str) -> CompetitionInfo:
    """A competition from its wire form."""
    return CompetitionInfo(
        slug=slug,
        title=text(row, "title"),
        url=text(row, "url"),
        deadline=moment(row, "deadline"),
        max_daily_submissions=whole(row, "maxDailySubmissions") or None,
        entered=truth(row, "userHasEntered"),
        submissions_disabled=bool(truth(row, "submissionsDisabled")),
        code_only=bool(truth(row, "isKernelsSubmissionsOnly")),
        user_rank=whole(row, "userRank") or None,
        evaluation_metric=text(row, "evaluationMetric"),
        team_count=whole(row, "teamCount"),
    )


def slug_of(row: Row) -> str:
    """The slug in a competition's ``ref``, which is a whole URL on the real service."""
    return text(row, "ref").rstrip("/").rsplit("/", 1)[-1]


def file_of(row: Row) -> RemoteFile:
    """A file from its wire form."""
    return RemoteFile(text(row, "name") or text(row, "ref"), whole(row, "totalBytes"), moment(row, "creationDate"))


def submission_of(row: Row) -> RemoteSubmission:
    """A submission from its wire form; one without a status is PENDING unless it has a score."""
    score = number(row, "publicScore")
    return RemoteSubmission(
        ref=whole(row, "ref") or 0,
        date=moment(row, "date"),
        description=text(row, "description"),
        status=_status(field(row, "status"), scored=score is not None),
        public_score=score,
        private_score=number(row, "privateScore"),
        error_description=text(row, "errorDescription"),
        file_name=text(row, "fileName"),
        team_name=text(row, "teamName"),
        submitted_by=text(row, "submittedBy"),
    )


def counted_on(rows: Iterable[RemoteSubmission], day: date) -> int:
    """How many of the submissions count for that day (UTC): those that ended in ERROR do not."""
    return sum(row.status != "ERROR" and row.date is not None and row.date.date() == day for row in rows)


def leaderboard_row_of(row: Row, rank: int) -> LeaderboardRow:
    """A place on the leaderboard from its wire form: the order is the rank."""
    return LeaderboardRow(rank, text(row, "teamName"), number(row, "score"), moment(row, "submissionDate"))


def _status(value: Any, *, scored: bool) -> str:
    if isinstance(value, int) and 0 <= value < len(STATUSES):
        return STATUSES[value]
    name = re.split(r"[._]", str(value).upper())[-1] if value else ""
    if name in STATUSES:
        return name
    return "COMPLETE" if scored else "PENDING"


def field(row: Row, name: str) -> Any:
    """A field by its camelCase name, or by the same name in snake_case; None when it is absent."""
    if name in row:
        return row[name]
    return row.get(re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower())


def token_in(row: Row, name: str) -> str:
    """A token, letter by letter as it was sent; empty when absent."""
    value = field(row, name)
    return "" if value is None else str(value)


def text(row: Row, name: str) -> str:
    """A text field without control characters; empty when absent."""
    value = field(row, name)
    return "" if value is None else clean(str(value))


def whole(row: Row, name: str) -> int | None:
    """A whole number, sent as such or as text; None when absent."""
    exact = field(row, name)
    if isinstance(exact, str) and _INTEGER.fullmatch(exact):
        exact = int(exact)
    if isinstance(exact, int) and not isinstance(exact, bool):
        return exact  # not by way of a float, which is exact to 2⁵³ only
    value = number(row, name)
    return None if value is None else int(value)


def number(row: Row, name: str) -> float | None:
    """A finite number, sent as such or as text; None when absent or empty."""
    value = field(row, name)
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        result = float(value)
    except ValueError:
        return None
    return result if math.isfinite(result) else None


def truth(row: Row, name: str) -> bool | None:
    """True, False, or None when the field is absent."""
    value = field(row, name)
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return bool(value) if isinstance(value, bool | int) else None


def moment(row: Row, name: str) -> datetime | None:
    """A date as an aware moment in UTC; None when absent or unreadable. Dates without a zone are UTC."""
    value = field(row, name)
    try:
        result = datetime.fromisoformat(value) if isinstance(value, str) and value else None
    except ValueError:
        return None
    if result is None:
        return None
    return result.replace(tzinfo=UTC) if result.tzinfo is None else result.astimezone(UTC)
