"""The tables that one steers by: submissions, runs, days, the public board, and what a CV lets expect."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from kaggle_kit.render.tables import Column, Grid
from kaggle_kit.render.text import clean, clock, day, number, signed
from kaggle_kit.render.views import View, line, marks_note, score

BEST = "*"
STYLES = {"failed": "red", "not sent": "dim", "interrupted": "yellow"}


def history(table: Any) -> View:
    """Submissions, or the days that they were made on; the best public score bold and starred."""
    if "day" in table.columns:
        yield from days(table)
        return
    best, rows = _starred(table), [_shown(row) for row in table.rows]
    yield Grid(
        (
            Column("created", "When", day),
            Column("message", "Message", least=18),
            Column("translator", "Translator", least=8, order=3),
            Column("folds_text", "Folds", right=True, order=6),
            Column("ensemble", "Ens", lambda value: str(value) if value and value > 1 else "", right=True, order=7),
            Column("cv_text", "CV", str, right=True),
            Column("public", "Public ", str, right=True),
            Column("private_score", "Private", lambda value: number(value, 5), right=True, order=1),
            Column("difference", "Diff", signed, right=True),
            Column("rank", "Rank", _place, right=True, order=2),
            Column("rank_change", "Move", lambda value: f"{value:+,}" if value else "", right=True, order=4),
            Column("train_seconds", "Time", _cost, right=True, order=5),
            Column("status", "Status"),
        ),
        [
            {**shown, "public": _marked(number(row["public_score"], 5), row is best)}
            for row, shown in zip(table.rows, rows, strict=True)
        ],
        style=lambda row: "bold" if row.get("best") else STYLES.get(row["status"], ""),
        empty="no submissions yet; kk submit makes one" if not table.notes else "no submissions to show",
    )
    if best is not None:
        yield Text(f"{BEST} best public score", style="dim")
    yield from marks_note(table.rows)
    yield from _notes(table)


def rehearsal(result: Any) -> View:
    """What a demo or rehearsal came to: the history of the folder that it was played in."""
    yield from history(result.table)
    yield line(f"played in {result.folder}; kk leaderboard, runs, train, predict and validate work there")


def runs_history(table: Any) -> View:
    """Training runs and ensembles, submitted or not; the best CV bold and starred."""
    if "day" in table.columns:
        yield from days(table, what="Runs")
        return
    best = _starred(table)
    rows = [{**_shown(row), "cv_text": _marked(_cv(row), row is best)} for row in table.rows]
    yield Grid(
        (
            Column("id", "Run"),
            Column("trial_text", "Trial", least=8, order=6),
            Column("translator", "Translator", least=8, order=4),
            Column("folds_text", "Folds", right=True, order=3),
            Column("ensemble", "Ens", lambda value: str(value) if value and value > 1 else "", right=True, order=7),
            Column("cv_text", "CV ", str, right=True),
            Column("train_seconds", "Time", _cost, right=True, order=5),
            Column("status", "Status"),
            Column("public_score", "Public", lambda value: number(value, 5), right=True, order=1),
            Column("submission", "Sent as", lambda value: clean(value or "").rsplit("-", 1)[-1], order=2),
        ),
        rows,
        style=lambda row: "bold" if row.get("best") else STYLES.get(row["status"], ""),
        empty="no runs yet; kk train makes one" if not table.notes else "no runs to show",
    )
    if best is not None:
        yield Text(f"{BEST} best CV", style="dim")
    yield from marks_note(table.rows)
    yield from _notes(table)


def days(table: Any, *, what: str = "Submissions") -> View:
    """One row a day with the best of it: of submissions by public score, of runs by CV."""
    by_cv = what == "Runs"
    best = _starred(table)
    yield Grid(
        (
            Column("day", "Day (UTC)"),
            Column("count", what, str, right=True),
            Column("scored", "Scored", str, right=True, order=3),
            Column("message", "Best of the day", least=12),
            Column("cv_text", "CV ", str, right=True),
            Column("public", "Public ", str, right=True),
            Column("private_score", "Private", lambda value: number(value, 5), right=True, order=1),
            Column("difference", "Diff", signed, right=True),
            Column("rank", "Rank", _place, right=True, order=2),
            Column("train_seconds", "Time", _cost, right=True, order=4),
        ),
        [
            {
                **row,
                "cv_text": _marked(_cv(row), row is best and by_cv),
                "public": _marked(number(row["public_score"], 5), row is best and not by_cv),
            }
            for row in table.rows
        ],
        style=lambda row: "bold" if row.get("best") else "",
        empty=f"no {what.lower()} to show",
    )
    if best is not None:
        yield Text(f"{BEST} best {'CV' if by_cv else 'public score'}", style="dim")
    yield from marks_note(table.rows)
    yield from _notes(table)


def public_board(table: Any) -> View:
    """The competition's leaderboard, the own team bold and marked."""
    yield Grid(
        (
            Column("rank", "Rank", str, right=True),
            Column("mark", " "),
            Column("team", "Team", least=10),
            Column("score", "Score", lambda value: number(value, 5), right=True),
            Column("to_next", "To next", lambda value: number(value, 5), right=True, order=2),
            Column("to_top", "To top", lambda value: number(value, 5), right=True, order=3),
            Column("date", "Last", day, order=1),
        ),
        [{**row, "mark": ">" if row["own"] else ""} for row in table.rows],
        style=lambda row: "bold" if row["own"] else "",
        empty="the leaderboard is empty",
    )
    if any(row["own"] for row in table.rows):
        yield Text("> your team", style="dim")
    yield from _notes(table)


def calibration(report: Any) -> View:
    """What CVs were worth on the leaderboard, and what the runs that were not submitted may be worth."""
    for sentence in report.sentences():
        text = line(sentence)
        text.stylize("yellow" if sentence.startswith(("beware", "outlier")) else "")
        yield text
    if not report.calibration.fitted:
        return
    yield Text()
    yield Grid(
        (
            Column("id", "Run, not submitted"),
            Column("translator", "Translator", least=8, order=2),
            Column("cv_text", "CV", str, right=True),
            Column("expected_text", "Expected", str, right=True),
            Column("chance", "New best", _chance, right=True),
            Column("verdict", "Verdict", order=1),
        ),
        [
            {
                **row,
                "cv_text": score(row["cv"], row["cv_error"]),
                "expected_text": score(row["expected"], row["error"]),
                "verdict": "may be the best" if row["worth"] else "not worth a submission",
            }
            for row in report.candidates.rows
        ],
        style=lambda row: "" if row["worth"] else "dim",
        empty="every finished run was submitted; kk train makes another",
    )
    if report.calibration.best is not None:
        yield line(f"your best public score is {report.calibration.best:.5f}")


def _shown(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row, "cv_text": _cv(row), "folds_text": _folds(row), "trial_text": _trial(row)}


def _cv(row: Mapping[str, Any]) -> str:
    return score(row.get("cv"), row.get("cv_error"), leaks=row.get("leaks"), comparable=row.get("comparable"))


def _folds(row: Mapping[str, Any]) -> str:
    """``5``, ``5x3`` for five folds of three seeds, ``5+2`` for five folds and two refits."""
    folds, seeds, refit = row.get("folds"), row.get("seeds"), row.get("refit")
    if folds is None:
        return ""
    return f"{folds}{f'x{seeds}' if seeds and seeds > 1 else ''}{f'+{refit}' if refit else ''}"


def _place(rank: Any) -> str:
    return "" if rank is None else f"{rank:,}"


def _trial(row: Mapping[str, Any]) -> str:
    """Which trial of which sweep."""
    parts = [clean(row[name]) for name in ("sweep", "trial") if row.get(name) is not None]
    return " ".join(parts)


def _cost(seconds: Any) -> str:
    return "" if seconds is None else clock(seconds)


def _chance(chance: Any) -> str:
    return "" if chance is None else f"{chance:.0%}".replace("%", " %")


def _starred(table: Any) -> Mapping[str, Any] | None:
    """The row with the best of all, where there are others that it could be told from."""
    found: Mapping[str, Any] | None = table.best
    return found if len(table.rows) > 1 else None


def _marked(shown: str, best: bool) -> str:  # noqa: FBT001
    """A figure, its last place kept free for the star of the best."""
    return f"{shown}{BEST if best else ' '}" if shown else ""


def _notes(table: Any) -> View:
    yield from (line(note) for note in table.notes)
