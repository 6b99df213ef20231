"""The history of submissions as one plain table: what terminal, notebook, CSV and pandas views are made of."""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kaggle_kit.archive.records import Record

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    "id",
    "created",
    "message",
    "translator",
    "folds",
    "cv",
    "cv_error",
    "public_score",
    "private_score",
    "difference",
    "status",
    "ref",
)


@dataclass(frozen=True)
class HistoryTable:
    """Rows of plain values under named columns; each row has at least the columns, None where nothing is known."""

    columns: tuple[str, ...]
    rows: list[dict[str, Any]]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def best(self) -> dict[str, Any] | None:
        """The row with the highest public score; None when nothing is scored."""
        scored = [row for row in self.rows if row.get("public_score") is not None]
        return max(scored, key=lambda row: row["public_score"], default=None)

    def to_json_rows(self) -> list[dict[str, Any]]:
        """The rows as plain data, one dictionary each."""
        return [dict(row) for row in self.rows]

    def to_csv(self) -> str:
        """The table as CSV text with a header; nothing is rounded or padded."""
        text = io.StringIO()
        writer = csv.DictWriter(text, self.columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def to_frame(self) -> pandas.DataFrame:
        """The table as a pandas frame; ``created`` becomes a time in UTC."""
        import pandas

        frame = pandas.DataFrame(self.rows, columns=list(self.columns))
        if "created" in frame:
            frame["created"] = pandas.to_datetime(frame["created"], utc=True, format="ISO8601")
        return frame

    def _repr_html_(self) -> str:
        """The table for a notebook; everything from outside is escaped, the best row bold."""
        best = self.best
        head = "".join(f"<th>{_escaped(column)}</th>" for column in self.columns)
        body = "".join(_html_row(row, self.columns, bold=row is best) for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def history_table(records: Iterable[Record], *, sort: str = "newest", rehearsal: bool = False) -> HistoryTable:
    """The history that submission records tell.

    Args:
        records: submission records, in any order.
        sort: ``newest`` first, or ``best`` first: by public score, then by CV.
        rehearsal: whether rehearsals are shown; the real submissions always are.
    """
    rows = [_row(record) for record in records if rehearsal or not record["rehearsal"]]
    rows.sort(key=lambda row: (row["created"], row["id"]), reverse=True)
    if sort == "best":
        rows.sort(key=lambda row: (_low(row["public_score"]), _low(row["cv"])), reverse=True)
    return HistoryTable(COLUMNS, rows)


def _row(record: Record) -> dict[str, Any]:
    public, cv = record["public_score"], record["cv"]
    facts = {column: record.get(column) for column in COLUMNS}
    translator, folds = facts["translator"], facts["folds"]
    return facts | {
        "translator": translator.get("name") if isinstance(translator, dict) else translator,
        "folds": folds.get("count") if isinstance(folds, dict) else folds,
        "difference": public - cv if public is not None and cv is not None else None,
        "status": record.state,
    }


def _low(value: float | None) -> float:
    return float("-inf") if value is None else value


def _html_row(row: dict[str, Any], columns: Sequence[str], *, bold: bool) -> str:
    style = ' style="font-weight: bold"' if bold else ""
    return f"<tr{style}>" + "".join(f"<td>{_escaped(_shown(row.get(column)))}</td>" for column in columns) + "</tr>"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.5f}" if isinstance(value, float) else str(value)


def _escaped(text: str) -> str:
    return html.escape("".join(letter if letter.isprintable() else " " for letter in text))
