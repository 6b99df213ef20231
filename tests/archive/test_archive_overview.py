"""Lists of thousands of records: what they read, and that it is what the records say."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kaggle_kit.archive import (
    RunStore,
    SubmissionStore,
    add_standing,
    by_day,
    history_table,
    read_standings,
    run_table,
    standing_change,
)

OPENED: list[str] | None = None


def _watch(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "open" and OPENED is not None and isinstance(arguments[0], str | os.PathLike):
        OPENED.append(os.fspath(arguments[0]))


@contextmanager
def opened_files() -> Iterator[list[str]]:
    """The paths of the files opened meanwhile."""
    global OPENED
    if not hasattr(_watch, "added"):
        sys.addaudithook(_watch)  # there is no way to take one away again
        _watch.added = True  # type: ignore[attr-defined]
    OPENED = []
    try:
        yield OPENED
    finally:
        OPENED = None


def write_submission(folder: Path, number: int, **fields: Any) -> None:
    name = f"2026{1 + number // 2400 % 12:02}{1 + number // 100 % 24:02}-{number % 100 % 24:02}{number % 60:02}00-x-{number:06x}"
    record = {
        "schema": 1, "id": name, "competition": "aml-competition", "created": f"2026-11-{1 + number % 28:02}T10:00:00.000Z",
        "state": "scored", "message": f"try {number}", "translator": "ridge", "folds": 5, "cv": 0.5 + number % 100 / 300,
        "cv_error": 0.004, "public_score": 0.4 + number % 97 / 300, "ref": number + 1, "train_seconds": 12.5,
        "history": [{"state": "built", "at": "x", "note": "y" * 200}], **fields,
    }  # fmt: skip
    path = folder / record["id"] / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(record))
    os.utime(path, (1_700_000_000, 1_700_000_000))  # old enough for the index to be trusted


def test_overview_is_the_listed_part_of_every_record(tmp_path: Path) -> None:
    for number in range(30):
        write_submission(tmp_path, number, rank={"rank": number, "teams": 40})
    store = SubmissionStore(tmp_path)
    for listing in (store.overview(), store.overview()):
        for short, whole in zip(listing.records, store.scan().records, strict=True):
            assert short.id == whole.id
            assert short.folder == whole.folder
            assert {name: short[name] for name in store.listed} == {name: whole.get(name) for name in store.listed}
            assert "history" not in short


def test_fresh_index_spares_opening_the_records(tmp_path: Path) -> None:
    for number in range(200):
        write_submission(tmp_path, number)
    assert len(SubmissionStore(tmp_path).overview().records) == 200
    with opened_files() as opened:
        assert len(SubmissionStore(tmp_path).overview().records) == 200
    assert [path for path in opened if path.endswith("record.json")] == []
    assert len(opened) < 10
    changed = next(tmp_path.glob("*/record.json"))
    changed.write_text(changed.read_text().replace("ridge", "mlp"))
    with opened_files() as opened:
        records = SubmissionStore(tmp_path).overview().records
    assert [path for path in opened if path.endswith("record.json")] == [str(changed)]
    assert [one["translator"] for one in records].count("mlp") == 1


def test_broken_records_are_told_with_their_reason_each_time(tmp_path: Path) -> None:
    write_submission(tmp_path, 1)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "record.json").write_text('{"schema": 1, "id"')
    os.utime(tmp_path / "half" / "record.json", (1_700_000_000, 1_700_000_000))
    for _ in range(3):
        listing = SubmissionStore(tmp_path).overview()
        assert [one.id for one in listing.broken] == ["half"]
        assert "not valid JSON" in listing.broken[0].message
        assert listing.broken == SubmissionStore(tmp_path).scan().broken
        assert len(listing.records) == 1


def test_index_that_holds_something_else_is_made_anew(tmp_path: Path) -> None:
    import sqlite3
    from contextlib import closing

    write_submission(tmp_path, 1)
    SubmissionStore(tmp_path).overview()
    with closing(sqlite3.connect(tmp_path / "index.sqlite")) as database, database:
        database.execute("UPDATE shorts SET short = '{half'")
    assert [one["message"] for one in SubmissionStore(tmp_path).overview().records] == ["try 1"]


@pytest.mark.slow
def test_five_thousand_records_are_listed_from_the_index_alone(tmp_path: Path) -> None:
    for number in range(5000):
        write_submission(tmp_path, number)
    SubmissionStore(tmp_path).overview()
    with opened_files() as opened:
        table = history_table(SubmissionStore(tmp_path).overview().records)
    assert len(table) == 5000
    assert len(opened) < 10
    assert len(by_day(table)) == 28
    assert table.sorted("best").rows[0]["best"]


def test_drafts_are_no_submissions_and_ranks_tell_their_change(tmp_path: Path) -> None:
    write_submission(tmp_path, 0, rank={"rank": 9, "teams": 40})
    write_submission(tmp_path, 1, rank={"rank": 6, "teams": 40})
    write_submission(tmp_path, 2, state="valid", ref=None, public_score=None)
    write_submission(tmp_path, 3, rank={"rank": 8, "teams": 41}, seeds=3, members=[{"run": "a"}, {"run": "b"}])
    rows = history_table(SubmissionStore(tmp_path).overview().records).rows
    assert [(row["rank"], row["rank_change"]) for row in rows] == [(8, -2), (None, None), (6, 3), (9, None)]
    assert [row["status"] for row in rows] == ["scored", "not sent", "scored", "scored"]
    assert (rows[0]["seeds"], rows[0]["ensemble"]) == (3, 2)


def test_runs_show_their_best_submission_and_older_submissions_the_cost_of_their_run(tmp_path: Path) -> None:
    runs = RunStore(tmp_path / "runs")
    fields = {"competition": "aml-competition", "state": "done", "translator": "ridge", "folds": {"count": 5}}
    made = [runs.create(runs.reserve(name, "ab"), {**fields, "name": name, "cv": {"mrr": cv, "error": 0.01}, "train_seconds": 7.0})
            for name, cv in (("one", 0.7), ("two", 0.8))]  # fmt: skip
    failed = runs.create(
        runs.reserve("three", "cd"), {**fields, "state": "failed", "cv": None, "sweep": {"name": "wide", "trial": 3}}
    )
    for number, score in enumerate((0.6, 0.65, 0.62)):
        write_submission(tmp_path / "sent", number, run=made[0].id, public_score=score, train_seconds=None)
    sent = SubmissionStore(tmp_path / "sent").overview().records
    listed = RunStore(tmp_path / "runs").overview().records
    table = {row["id"]: row for row in run_table(listed, sent).rows}
    assert (table[made[0].id]["public_score"], table[made[0].id]["difference"]) == (0.65, pytest.approx(-0.05))
    assert table[made[0].id]["submission"].endswith("000001")
    assert (table[made[1].id]["public_score"], table[made[1].id]["best"]) == (None, True)
    assert (table[failed.id]["status"], table[failed.id]["cv"], table[failed.id]["trial"]) == ("failed", None, 3)
    history = history_table(sent, runs={run.id: run for run in listed})
    assert {row["train_seconds"] for row in history.rows} == {7.0}


def test_standings_tell_the_change_and_survive_damage(tmp_path: Path) -> None:
    assert (read_standings(tmp_path, "c"), standing_change([])) == ([], None)
    add_standing(tmp_path, "c", 12, 200)
    assert standing_change(read_standings(tmp_path, "c")) is None
    add_standing(tmp_path, "c", 9, None)
    assert standing_change(read_standings(tmp_path, "c")) == 3
    assert read_standings(tmp_path, "other") == []
    (tmp_path / "standing-c.json").write_text("[1]")
    assert read_standings(tmp_path, "c") == []
    add_standing(tmp_path, "c", 8, 200)
    assert [one.rank for one in read_standings(tmp_path, "c")] == [8]
