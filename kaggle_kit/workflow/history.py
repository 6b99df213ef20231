"""The history of submissions from the archive, and the competition's own leaderboard from the service."""

from __future__ import annotations

from kaggle_kit.archive import HistoryTable, SubmissionStore, history_table
from kaggle_kit.config import Project
from kaggle_kit.kaggle_service import KaggleService, LeaderboardRow
from kaggle_kit.progress import SILENCE, Progress
from kaggle_kit.workflow.connect import connect


def history(
    project: Project,
    *,
    sort: str = "newest",
    top: int | None = None,
    rehearsals: bool = False,
    progress: Progress = SILENCE,
) -> HistoryTable:
    """Every submission to the project's competition: CV beside public and private score; no network.

    Args:
        sort: ``newest`` or ``best`` first.
        top: the first rows only.
        rehearsals: submissions to rehearsal servers instead of the real ones.
    """
    competition = project.settings.competition
    listing = SubmissionStore(project.submissions_dir).scan()
    for broken in listing.broken:
        progress.note(f"{broken.path} is left out: {broken.message}")
    wanted = rehearsals or competition.rehearsal
    records = [r for r in listing.records if r["competition"] == competition.slug and r["rehearsal"] == wanted]
    table = history_table(records, sort=sort, rehearsal=wanted)
    return HistoryTable(table.columns, table.rows[:top])


def public_board(
    project: Project,
    *,
    top: int | None = None,
    service: KaggleService | None = None,
    progress: Progress = SILENCE,
) -> HistoryTable:
    """The competition's public leaderboard, the own team marked and always among the rows.

    Raises:
        CredentialsError, MissingError, ServiceError: the service said no, or cannot be reached.
    """
    slug = project.settings.competition.slug
    service = connect(project, service, progress=progress)
    rows, own = service.leaderboard(slug), own_teams(service, slug)
    rank = None if own else service.competition(slug).user_rank
    listed = [_row(row, own=row.team in own or row.rank == rank) for row in rows]
    shown = [row for row in listed if top is None or row["rank"] <= top or row["own"]]
    return HistoryTable(("rank", "team", "score", "date", "own"), shown)


def own_teams(service: KaggleService, slug: str) -> set[str]:
    """The names under which the own submissions were made."""
    return {row.team_name for row in service.submissions(slug) if row.team_name}


def _row(row: LeaderboardRow, *, own: bool) -> dict[str, object]:
    date = row.date.isoformat() if row.date else None
    return {"rank": row.rank, "team": row.team, "score": row.score, "date": date, "own": own}
