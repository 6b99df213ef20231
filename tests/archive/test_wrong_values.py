"""Records that somebody edited, merged or damaged: each is named as broken, and nothing else fails for it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from kaggle_kit.archive import RunStore, SubmissionStore, add_standing, read_standings
from kaggle_kit.errors import DataError, UsageError

RUN = {"competition": "a", "state": "done", "cv": {"mrr": 0.5, "error": 0.01}}


def write(store: Any, record_id: str, **changes: Any) -> None:
    path = store.folder / record_id / store.file_name
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize(
    "changes",
    [
        {"cv": {"mrr": "good"}},
        {"cv": {"mrr": True}},
        {"folds": {"count": "5"}},
        {"members": ["x"]},
        {"members": [{"run": "a", "weight": []}]},
        {"checkpoints": [{"file": 5, "sha256": "x"}]},
        {"created": "yesterday"},
        {"created": "2026-11-23T14:15:02"},
        {"train_seconds": [1]},
        {"config": {"folds": 5}},
    ],
)
def test_value_of_the_wrong_kind_inside_a_field_makes_a_run_broken(runs: RunStore, changes: dict) -> None:
    good, bad = (runs.create(runs.reserve(name, "ab12" * 16), RUN).id for name in ("good", "bad"))
    write(runs, bad, **changes)
    for listing in (runs.scan(), runs.overview()):
        assert [one.id for one in listing.records] == [good]
        assert [one.id for one in listing.broken] == [bad]
    with pytest.raises(DataError, match=next(iter(changes))):
        runs.read(bad)


@pytest.mark.parametrize(
    "changes",
    [
        {"rank": {"rank": "first"}},
        {"history": [{"state": "built", "at": 5}]},
        {"file": {"name": 5}},
        {"vectors": {"sha256": []}},
        {"provenance": {"git": "x"}},
        {"basis": {"folds": {}}},
        {"run": []},
        {"kernel": {"version": "3"}},
    ],
)
def test_value_of_the_wrong_kind_inside_a_field_makes_a_submission_broken(
    submissions: SubmissionStore, changes: dict
) -> None:
    bad = submissions.create(submissions.reserve("bad", "ab12" * 16), {"competition": "a"}).id
    write(submissions, bad, **changes)
    assert [one.id for one in submissions.scan().broken] == [bad]


def test_number_beyond_all_bounds_is_no_number(runs: RunStore) -> None:
    bad = runs.create(runs.reserve("bad", "ab12" * 16), RUN).id
    path = runs.folder / bad / "run.json"
    path.write_text(path.read_text().replace("0.5", "1e999"))
    assert [one.id for one in runs.scan().broken] == [bad]


def test_record_dated_in_the_future_is_not_the_newest(runs: RunStore) -> None:
    first, second = (runs.create(runs.reserve(name, "ab12" * 16), RUN).id for name in ("first", "second"))
    write(runs, first, created=(runs.clock() + timedelta(days=400)).isoformat().replace("+00:00", "Z"))
    assert runs.load().id == second
    assert [one.id for one in runs.overview().records] == [second, first]


def test_what_is_no_file_is_named_and_the_rest_is_listed(runs: RunStore) -> None:
    good, loop, folder = (runs.create(runs.reserve(name, "ab12" * 16), RUN).id for name in ("good", "loop", "folder"))
    for one in (loop, folder):
        (runs.folder / one / "run.json").unlink()
    (runs.folder / loop / "run.json").symlink_to("run.json")
    (runs.folder / folder / "run.json").mkdir()
    (runs.folder / "index.sqlite").unlink(missing_ok=True)
    (runs.folder / "index.sqlite").mkdir()
    listing = runs.reindex()
    assert [one.id for one in listing.records] == [good]
    assert {one.id for one in listing.broken} == {loop, folder}
    with pytest.raises(DataError, match="cannot be read"):
        runs.read(folder)


def test_file_in_place_of_the_archive_is_told(tmp_path) -> None:
    (tmp_path / "archive").write_text("x")
    with pytest.raises(UsageError, match="Not a directory"):
        RunStore(tmp_path / "archive").scan()


@pytest.mark.parametrize(
    "content", ["5", "{}", '[5, null, {"at": "x", "rank": 1}, {"at": "2026-11-23T14:15:02Z", "rank": "1"}]']
)
def test_damaged_standings_count_as_none(tmp_path, content: str) -> None:
    (tmp_path / "standing-a.json").write_text(content)
    assert read_standings(tmp_path, "a") == []
    add_standing(tmp_path, "a", 3, 10)
    assert [one.rank for one in read_standings(tmp_path, "a")] == [3]
