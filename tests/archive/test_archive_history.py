"""The history table and its views."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable

import numpy as np
import pytest

from kaggle_kit.archive import Record, SubmissionStore, history_table

Build = Callable[..., Record]


@pytest.fixture
def three(submissions: SubmissionStore, build: Build, vectors: np.ndarray) -> list[Record]:
    build(vectors, "scored", message="a", cv=0.8, cv_error=0.01, public_score=0.875, translator="ridge", folds=5, ref=1)
    build(
        vectors,
        "scored",
        message="b",
        cv=0.9,
        public_score=0.75,
        translator="mlp",
        folds=10,
        ref=2,
    )
    build(vectors, "valid", message="<script>c\x1b", cv=0.7)
    return submissions.list()


def test_newest_comes_first(three: list[Record]) -> None:
    table = history_table(three)
    assert [row["message"] for row in table.rows] == ["<script>c\x1b", "b", "a"]


def test_best_comes_first_and_the_unscored_last(three: list[Record]) -> None:
    table = history_table(three).sorted("best")
    assert [row["message"] for row in table.rows] == ["a", "b", "<script>c\x1b"]
    assert table.best is not None
    assert table.best["message"] == "a"


def test_rows_hold_what_people_compare(three: list[Record]) -> None:
    row = history_table(three).rows[2]
    assert row["difference"] == pytest.approx(0.075)
    assert (row["translator"], row["folds"], row["status"], row["ref"], row["private_score"]) == (
        "ridge",
        5,
        "scored",
        1,
        None,
    )
    second = history_table(three).rows[1]
    assert (second["translator"], second["folds"]) == ("mlp", 10)
    assert history_table(three).rows[0]["difference"] is None


def test_csv_json_and_frame_agree(three: list[Record]) -> None:
    table = history_table(three)
    read = list(csv.DictReader(io.StringIO(table.to_csv())))
    assert [row["message"] for row in read] == [row["message"] for row in table.rows]
    assert read[2]["public_score"] == "0.875"
    frame = table.to_frame()
    assert list(frame.columns) == list(table.columns)
    assert frame["public_score"].max() == 0.875
    assert str(frame["created"].dt.tz) == "UTC"


def test_empty_history_has_its_columns() -> None:
    table = history_table([])
    assert (len(table), table.best) == (0, None)
    assert list(table.to_frame().columns) == list(table.columns)
    assert table.to_csv() == ",".join(table.columns) + "\n"


def test_html_escapes_what_came_from_outside_and_marks_the_best(three: list[Record]) -> None:
    page = history_table(three)._repr_html_()
    assert "<script>" not in page
    assert "\x1b" not in page
    assert "&lt;script&gt;c" in page
    assert page.count("font-weight: bold") == 1
    assert "0.87500" in page.split("font-weight: bold")[1]


@pytest.mark.parametrize("message", ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(1)", "\t=1"])
def test_csv_holds_no_formula_that_a_spreadsheet_would_run(
    submissions: SubmissionStore, build: Build, vectors: np.ndarray, message: str
) -> None:
    build(vectors, "scored", message=message, public_score=-0.5, ref=1)
    (read,) = csv.DictReader(io.StringIO(history_table(submissions.list()).to_csv()))
    assert read["message"] == f"'{message}"
    assert read["public_score"] == "-0.5"
