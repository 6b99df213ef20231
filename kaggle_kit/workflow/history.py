"""The history of submissions and runs from the archives, and the competition's own leaderboard from the service."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kaggle_kit.archive import (
    SORTS,
    HistoryTable,
    Listing,
    Record,
    RecordStore,
    RunStore,
    SubmissionStore,
    by_day,
    history_table,
    made_by,
    read_standings,
    run_table,
    standing_change,
)
from kaggle_kit.archive.ids import timestamp, utc_now
from kaggle_kit.config import Project
from kaggle_kit.errors import CredentialsError, UsageError
from kaggle_kit.progress import SILENCE, Progress

if TYPE_CHECKING:  # the client takes longer to import than thousands of records to read
    from kaggle_kit.kaggle_service import KaggleService, LeaderboardRow

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([mhdw])")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
BOARD_COLUMNS = ("rank", "team", "score", "to_next", "to_top", "date", "own")


def history(
    project: Project,
    *,
    sort: str = "newest",
    reverse: bool = False,
    top: int | None = None,
    translator: str | None = None,
    since: str | datetime | timedelta | None = None,
    days: bool = False,
    rehearsals: bool = False,
    progress: Progress = SILENCE,
) -> HistoryTable:
    """Every submission to the project's competition: CV beside public and private score; no network.

    Args:
        sort: one of ``kaggle_kit.archive.SORTS``: ``newest``, ``best``, ``cv``, ``public``, …
        reverse: the other way round; what has no value stays last.
        top: the first rows only.
        translator: those of this translator, alone or in an ensemble; ``*`` and ``?`` stand for anything.
        since: from this time on: a date, a time, or a span back from now such as ``7d`` or ``12h``.
        days: one row a day (UTC) instead, with the best of each.
        rehearsals: submissions to rehearsal servers instead of the real ones.

    Raises:
        UsageError: no such order, or no such time.
    """
    records = _own(SubmissionStore(project.submissions_dir), project, rehearsals=rehearsals, progress=progress)
    table = history_table(
        records, runs=_runs_of_older(project, records), gallery_size=project.settings.competition.gallery_size
    )
    notes = _standing_notes(project) if not rehearsals else ()
    return _arranged(replace(table, notes=notes), sort, reverse, top, translator, since, days=days)


def run_history(
    project: Project,
    *,
    sort: str = "newest",
    reverse: bool = False,
    top: int | None = None,
    translator: str | None = None,
    since: str | datetime | timedelta | None = None,
    days: bool = False,
    rehearsals: bool = False,
    progress: Progress = SILENCE,
) -> HistoryTable:
    """Every training run and ensemble of the project's competition, submitted or not; arguments as in ``history``.

    Raises:
        UsageError: no such order, or no such time.
    """
    submissions = _own(SubmissionStore(project.submissions_dir), project, rehearsals=rehearsals, progress=progress)
    runs = _own(RunStore(project.models_dir), project, rehearsals=rehearsals, progress=progress)
    table = run_table(runs, submissions, gallery_size=project.settings.competition.gallery_size)
    return _arranged(table, sort, reverse, top, translator, since, days=days)


def public_board(
    project: Project,
    *,
    top: int | None = None,
    service: KaggleService | None = None,
    progress: Progress = SILENCE,
) -> HistoryTable:
    """The competition's public leaderboard, the own team marked and always among the rows.

    ``to_next`` is how far a team's score is below the next better one, ``to_top`` how far below the best.

    Raises:
        CredentialsError, MissingError, ServiceError: the service said no, or cannot be reached.
    """
    from kaggle_kit.workflow.connect import connect

    slug = project.settings.competition.slug
    service = connect(project, service, progress=progress)
    rows, own = service.leaderboard(slug), _own_teams_if_shown(service, slug, progress)
    rank = None if own else service.competition(slug).user_rank
    listed = [_row(row, own=row.team in own or row.rank == rank) for row in rows]
    _measure_gaps(listed)
    shown = [row for row in listed if top is None or row["rank"] <= top or row["own"]]
    notes = tuple(_place_note(row, len(listed)) for row in listed if row["own"] and row["score"] is not None)
    return HistoryTable(BOARD_COLUMNS, shown, notes)


def _own_teams_if_shown(service: KaggleService, slug: str, progress: Progress) -> set[str]:
    try:
        return own_teams(service, slug)
    except CredentialsError as error:  # a token that may only read sees the board all the same
        progress.note(f"the own submissions are not shown ({error.message}); the own team is told by its rank")
        return set()


def own_teams(service: KaggleService, slug: str) -> set[str]:
    """The names under which the own submissions were made."""
    return {row.team_name for row in service.submissions(slug) if row.team_name}


def overview(store: RecordStore, progress: Progress) -> list[Record]:
    """The listed fields of a store's records, newest first; a broken one is mentioned and left out."""
    return readable(store.overview(), progress)


def readable(listing: Listing, progress: Progress) -> list[Record]:
    """The records of a listing; a broken one is mentioned and left out."""
    for broken in listing.broken:
        progress.note(f"{broken.path} is left out: {broken.message}")
    return listing.records


def moment_of(since: str | datetime | timedelta, now: datetime) -> datetime:
    """The time that ``since`` means, aware.

    Raises:
        UsageError: it means none.
    """
    try:
        if isinstance(since, str) and (span := _SPAN.fullmatch(since.strip().lower())):
            since = timedelta(**{_UNITS[span[2]]: float(span[1])})
        if isinstance(since, timedelta):
            return now - since
        moment = datetime.fromisoformat(since.strip()) if isinstance(since, str) else since
        return moment.astimezone(UTC)  # without a zone it is the local time, as tables show it
    except (ValueError, OverflowError):  # no date, or one that no calendar holds in another time zone
        raise UsageError(
            f"{str(since)!r} is no time to begin from",
            "give a date such as 2026-11-01, or a span such as 7d, 12h or 2w",
        ) from None


def _own(store: RecordStore, project: Project, *, rehearsals: bool, progress: Progress) -> list[Record]:
    """The records of the project's competition, or of its rehearsals."""
    competition = project.settings.competition
    played = replace(competition, rehearsal=rehearsals or competition.rehearsal)
    return [one for one in overview(store, progress) if one.belongs_to(played)]


def _runs_of_older(project: Project, records: list[Record]) -> Mapping[str, Record]:
    """Runs by id, where a submission's own record does not say yet what its training cost."""
    if all(one["train_seconds"] is not None or not one["run"] for one in records):
        return {}
    return {run.id: run for run in RunStore(project.models_dir).overview().records}


def _arranged(
    table: HistoryTable,
    sort: str,
    reverse: bool,  # noqa: FBT001
    top: int | None,
    translator: str | None,
    since: str | datetime | timedelta | None,
    *,
    days: bool,
) -> HistoryTable:
    """The rows wanted, in the order wanted."""
    if sort not in SORTS:
        raise UsageError(f"cannot sort by {sort!r}", f"choose one of {', '.join(SORTS)}")
    if translator is not None:
        found = table.only(made_by(translator))
        known = sorted({str(row["translator"]) for row in table.rows if row["translator"]})
        if table.rows and not found.rows:
            table = replace(table, notes=(*table.notes, f"none is of {translator}; there are {', '.join(known)}"))
        table = replace(found, notes=table.notes)
    if since is not None:
        start = timestamp(moment_of(since, utc_now()).astimezone(UTC))
        table = table.only(lambda row: row["created"] >= start)
    if days:
        table = by_day(table)
    if sort != "newest":
        table = table.sorted(sort, reverse=reverse)
    elif reverse:
        table = replace(table, rows=table.rows[::-1])
    return table.first(top)


def _standing_notes(project: Project) -> tuple[str, ...]:
    """Where the team stands, and what that changed."""
    standings = read_standings(project.submissions_dir, project.settings.competition.slug)
    if not standings:
        return ()
    last, moved = standings[-1], standing_change(standings)
    text = f"rank {last.rank:,}" + (f" of {last.teams:,}" if last.teams else "") + " on the public board"
    if moved is not None:
        text += f", {_moved(moved)}"
    return (f"{text} (looked up {last.at[:16].replace('T', ' ')} UTC)",)


def _moved(places: int) -> str:
    return "unchanged" if not places else f"{'up' if places > 0 else 'down'} {abs(places):,}"


def _row(row: LeaderboardRow, *, own: bool) -> dict[str, Any]:
    date = row.date.isoformat() if row.date else None
    return {"rank": row.rank, "team": row.team, "score": row.score, "date": date, "own": own}


def _measure_gaps(rows: list[dict[str, Any]]) -> None:
    """How far each team is from the next better score and from the best."""
    scores = sorted({row["score"] for row in rows if row["score"] is not None})
    for row in rows:
        better = bisect_right(scores, row["score"]) if row["score"] is not None else len(scores)
        row["to_next"] = scores[better] - row["score"] if better < len(scores) else None
        row["to_top"] = scores[-1] - row["score"] if better < len(scores) else None


def _place_note(row: Mapping[str, Any], teams: int) -> str:
    """The own place in one sentence."""
    text = f"{row['team']}: rank {row['rank']:,} of {teams:,}"
    if row["to_next"] is None:
        return f"{text}, the top"
    return f"{text}, {row['to_next']:.5f} below the next place, {row['to_top']:.5f} below the top"
