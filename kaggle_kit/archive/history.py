"""The histories of submissions and of runs as plain tables: what terminal, notebook, CSV and pandas views are made of."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from kaggle_kit.archive.records import Record, largest_gallery
from kaggle_kit.cells import escaped

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    "id",
    "created",
    "message",
    "translator",
    "folds",
    "seeds",
    "refit",
    "ensemble",
    "cv",
    "cv_error",
    "gallery_size",
    "public_score",
    "private_score",
    "difference",
    "rank",
    "rank_change",
    "train_seconds",
    "status",
    "ref",
    "run",
    "leaks",
    "comparable",
    "best",
)
RUN_COLUMNS = (
    "id",
    "created",
    "name",
    "kind",
    "translator",
    "loss",
    "folds",
    "seeds",
    "refit",
    "ensemble",
    "cv",
    "cv_error",
    "gallery_size",
    "train_seconds",
    "status",
    "sweep",
    "trial",
    "public_score",
    "private_score",
    "difference",
    "submission",
    "leaks",
    "comparable",
    "best",
)
DAY_COLUMNS = (
    "day",
    "count",
    "scored",
    "message",
    "cv",
    "cv_error",
    "public_score",
    "private_score",
    "difference",
    "rank",
    "train_seconds",
    "best",
)
FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""Characters by whose look at the beginning a spreadsheet takes text for a formula."""

NOT_SENT = "not sent"
"""Shown for a submission that never left this machine, however valid its file is."""

SORTS: dict[str, tuple[tuple[str, ...], bool]] = {
    "newest": (("created", "id"), True),
    "best": (("public_score", "comparable", "cv"), True),
    "cv": (("comparable", "cv"), True),
    "public": (("public_score",), True),
    "private": (("private_score",), True),
    "diff": (("difference",), True),
    "rank": (("rank",), False),
    "time": (("train_seconds",), True),
    "translator": (("translator",), False),
    "message": (("message",), False),
}
"""By what rows can be sorted: the values compared, and whether the highest comes first."""

_NUMBERS = {
    "cv": 4,
    "cv_error": 4,
    "public_score": 5,
    "private_score": 5,
    "difference": 4,
    "score": 5,
    "to_next": 5,
    "to_top": 5,
    "train_seconds": 1,
}
"""Decimals shown in a notebook; everywhere else nothing is rounded."""


@dataclass(frozen=True)
class HistoryTable:
    """Rows of plain values under named columns; each row has at least the columns, None where nothing is known.

    Attributes:
        notes: sentences about the whole, shown below it.
    """

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def best(self) -> dict[str, Any] | None:
        """The row with the highest public score; None when nothing is scored, or when the best was filtered out."""
        if any("best" in row for row in self.rows):
            return next((row for row in self.rows if row.get("best")), None)
        scored = [row for row in self.rows if row.get("public_score") is not None]
        return max(scored, key=lambda row: row["public_score"], default=None)

    def to_csv(self) -> str:
        """The table as CSV text with a header; nothing is rounded or padded.

        Text that a spreadsheet would take for a formula has an apostrophe before it: team names and messages are anybody's.
        """
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows({name: _inert(row.get(name)) for name in self.columns} for row in self.rows)
        return text.getvalue()

    def to_frame(self) -> pandas.DataFrame:
        """The table as a pandas frame; ``created`` becomes a time in UTC."""
        import pandas

        frame = pandas.DataFrame(self.rows, columns=list(self.columns))
        if "created" in frame:
            frame["created"] = pandas.to_datetime(frame["created"], utc=True, format="ISO8601")
        return frame

    def _repr_html_(self) -> str:
        """The table for a notebook, in its own colours; everything from outside is escaped, the best row bold."""
        best = self.best
        shown = [
            column for column in self.columns if any(row.get(column) not in (None, "", False) for row in self.rows)
        ]
        head = "".join(f"<th>{escaped(column.replace('_', ' '))}</th>" for column in shown or self.columns)
        body = "".join(_html_row(row, shown, bold=row is best or bool(row.get("own"))) for row in self.rows)
        notes = "".join(f"<p>{escaped(note)}</p>" for note in self.notes)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{notes}"

    def sorted(self, key: str, *, reverse: bool = False) -> HistoryTable:
        """The rows in the order that ``SORTS`` names; what has no value comes last, whichever way round."""
        names, falling = SORTS[key]
        rows = self.rows
        for name in reversed(names):
            known = [row for row in rows if row.get(name) is not None]
            known.sort(key=lambda row: row[name], reverse=falling != reverse)
            rows = known + [row for row in rows if row.get(name) is None]
        return replace(self, rows=rows)

    def only(self, wanted: Callable[[Mapping[str, Any]], bool]) -> HistoryTable:
        """The rows for which ``wanted`` is true."""
        return replace(self, rows=[row for row in self.rows if wanted(row)])

    def first(self, count: int | None) -> HistoryTable:
        """The first ``count`` rows; all when None."""
        return replace(self, rows=self.rows[:count])


def history_table(
    records: Iterable[Record], *, runs: Mapping[str, Record] | None = None, gallery_size: int | None = None
) -> HistoryTable:
    """The history that submission records tell, newest first.

    Args:
        records: submission records, in any order.
        runs: runs by id, for what older submission records do not say of theirs.
        gallery_size: of the competition: CVs of galleries of other sizes rank behind; that of the largest galleries when None.
    """
    records = list(records)
    wanted = largest_gallery(records) if gallery_size is None else gallery_size
    rows = [{**_row(record, runs or {}), **_measured(record, wanted)} for record in records]
    rows.sort(key=itemgetter("created", "id"))
    before = None
    for row in rows:
        if row["rank"] is not None:
            row["rank_change"] = None if before is None else before - row["rank"]
            before = row["rank"]
    return HistoryTable(COLUMNS, _best_marked(rows, "public_score")[::-1])


def run_table(
    runs: Iterable[Record], submissions: Iterable[Record], *, gallery_size: int | None = None
) -> HistoryTable:
    """Training runs and ensembles, submitted or not, newest first.

    Args:
        runs: run records, in any order.
        submissions: submission records; each run shows its best one.
        gallery_size: of the competition: CVs of galleries of other sizes rank behind; that of the largest galleries when None.
    """
    runs = list(runs)
    wanted = largest_gallery(runs) if gallery_size is None else gallery_size
    sent: dict[str, Record] = {}
    for one in submissions:
        name = one.get("run")
        if name and _status(one) != NOT_SENT and (name not in sent or _score(one) > _score(sent[name])):
            sent[name] = one
    rows = [{**_run_row(run, sent.get(run.id)), **_measured(run, wanted)} for run in runs]
    return HistoryTable(RUN_COLUMNS, _best_marked(rows, "cv")).sorted("newest")


def by_day(table: HistoryTable) -> HistoryTable:
    """One row for each day (UTC, as quotas count): how many, and the best of them by public score, then by CV; newest day first."""
    days: dict[str, list[dict[str, Any]]] = {}
    for row in table.sorted("newest").rows:
        days.setdefault(row["day"], []).append(row)
    newest_first = sorted(days.items(), reverse=True)
    return replace(table, columns=DAY_COLUMNS, rows=[_day_row(day, rows) for day, rows in newest_first])


def day_of(record: Record) -> str:
    """The day on which a submission went to Kaggle, of anything else on which it was made: ISO 8601, UTC, as quotas count."""
    return str(record.get("sent_at") or record.created)[:10]


def made_by(pattern: str) -> Callable[[Mapping[str, Any]], bool]:
    """Whether a row's translator, or one of an ensemble's, is called so; ``*`` and ``?`` stand for anything."""

    def fits(row: Mapping[str, Any]) -> bool:
        names = str(row["translator"] or "").split(" + ")
        return any(fnmatchcase(name, pattern) for name in names)

    return fits


def _measured(record: Record, gallery_size: int) -> dict[str, Any]:
    """How a record's CV was measured, and whether it can stand beside those in galleries of ``gallery_size``."""
    comparable = None if record.cv is None else record.comparable(gallery_size)
    return {
        "cv": record.cv,
        "cv_error": record.cv_error,
        "gallery_size": record.gallery_size,
        "leaks": bool(record.get("leaks")),
        "comparable": comparable,
    }


def _row(record: Record, runs: Mapping[str, Record]) -> dict[str, Any]:
    get = record.get
    public, cv, seconds, place = get("public_score"), record.cv, get("train_seconds"), get("rank")
    if seconds is None and (run := runs.get(get("run") or "")) is not None:
        seconds = run.get("train_seconds")
    return {
        "id": record.id,
        "created": record.created,
        "day": day_of(record),
        "message": get("message"),
        "translator": get("translator"),
        "folds": get("folds"),
        "seeds": get("seeds"),
        "refit": get("refit"),
        "ensemble": len(get("members") or ()) or None,
        "public_score": public,
        "private_score": get("private_score"),
        "difference": public - cv if public is not None and cv is not None else None,
        "rank": place.get("rank") if place else None,
        "rank_change": None,
        "train_seconds": seconds,
        "status": _status(record),
        "ref": get("ref"),
        "run": get("run"),
        "best": False,
    }


def _run_row(run: Record, sent: Record | None) -> dict[str, Any]:
    cv, public = run.cv, None if sent is None else sent["public_score"]
    sweep = run.get("sweep") or {}
    facts = {column: run.get(column) for column in RUN_COLUMNS}
    return facts | {
        "day": day_of(run),
        "folds": (run.get("folds") or {}).get("count"),
        "ensemble": len(run.get("members") or ()) or 1,
        "status": run.state,
        "sweep": sweep.get("name"),
        "trial": sweep.get("trial"),
        "public_score": public,
        "private_score": None if sent is None else sent["private_score"],
        "difference": None if public is None or cv is None else public - cv,
        "submission": None if sent is None else sent.id,
    }


def _day_row(day: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    best = max(rows, key=lambda row: (_low(row["public_score"]), *by_cv(row)))
    place = next((row["rank"] for row in rows if row.get("rank") is not None), None)
    # of runs only: an ensemble's cost is that of runs which are counted already
    costs = [row["train_seconds"] for row in rows if row.get("kind") == "run" and row["train_seconds"] is not None]
    return {
        **{column: best.get(column) for column in DAY_COLUMNS},
        "day": day,
        "count": len(rows),
        "scored": sum(row["public_score"] is not None for row in rows),
        "message": best.get("message") or best.get("name"),
        "rank": place,
        "train_seconds": sum(costs) if costs else None,
        **{name: best.get(name) for name in ("leaks", "comparable", "gallery_size")},
    }


def _best_marked(rows: list[dict[str, Any]], figure: str) -> list[dict[str, Any]]:
    """The rows, each saying whether it is the best of all by ``figure``, and by CV among equals; a CV ranks among comparable ones."""
    scored = [row for row in rows if row[figure] is not None]
    best = max(scored, key=by_cv if figure == "cv" else lambda row: (row[figure], *by_cv(row)), default=None)
    for row in rows:
        row["best"] = row is best
    return rows


def _status(record: Record) -> str:
    """The state, but a file that never left this machine is no submission, however valid it is."""
    return NOT_SENT if record.state in ("built", "valid") and record["ref"] is None else record.state


def _score(record: Record) -> float:
    return _low(record["public_score"])


def by_cv(row: Mapping[str, Any]) -> tuple[float, ...]:
    """What rows are ranked by, the highest the best, as ``Record.standing`` ranks records."""
    return bool(row["comparable"]), 0 if row["comparable"] else row["gallery_size"] or 0, _low(row["cv"])


def _low(value: float | None) -> float:
    return float("-inf") if value is None else value


def _html_row(row: dict[str, Any], columns: Sequence[str], *, bold: bool) -> str:
    style = ' style="font-weight: bold"' if bold else ""
    return f"<tr{style}>" + "".join(_html_cell(row.get(column), column) for column in columns) + "</tr>"


def _html_cell(value: Any, column: str) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    style = ' style="text-align: right"' if number else ""
    return f"<td{style}>{escaped(_shown(value, column))}</td>"


def _inert(value: Any) -> Any:
    """A value that no spreadsheet runs: see https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULAS) else value


def _shown(value: Any, column: str) -> str:
    if value is None or value is False:
        return ""
    if value is True:
        return "yes"
    return f"{value:.{_NUMBERS.get(column, 5)}f}" if isinstance(value, float) else str(value)
