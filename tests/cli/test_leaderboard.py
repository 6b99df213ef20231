"""``kk leaderboard`` on archives of every kind: empty, one record, failures only, many."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from played import faulty, template, tiny  # noqa: F401  # fixtures

from kaggle_kit.archive import SORTS, add_standing
from kaggle_kit.cli.commands.leaderboard import SORTS as OFFERED


@pytest.fixture
def submitted(clean_world: Path):
    """Write a submission's record below the current folder, as others would find it."""

    def write(number: int, *, ago: timedelta | None = None, **fields: Any) -> str:
        created = datetime(2026, 11, 1 + number, 12, tzinfo=UTC) if ago is None else datetime.now(UTC) - ago
        name = f"{created:%Y%m%d-%H%M%S}-x-{number:06x}"
        record = {
            "schema": 1, "id": name, "competition": "aml-competition", "created": created.isoformat(), "state": "scored",
            "message": f"try {number}", "translator": "ridge", "folds": 5, "cv": 0.7 + number / 100, "cv_error": 0.004,
            "public_score": 0.6 + number / 100, "ref": number + 1, "train_seconds": 75.0, **fields,
        }  # fmt: skip
        path = clean_world / "submissions_archive" / name / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record))
        return name

    return write


@pytest.fixture
def trained(clean_world: Path):
    """Write a run's record below the current folder."""

    def write(name: str, cv: float | None, **fields: Any) -> str:
        record = {
            "schema": 1, "id": name, "kind": "run", "competition": "aml-competition", "created": "2026-11-20T12:00:00Z",
            "state": "done", "translator": "mlp", "folds": {"count": 5}, "seeds": 2, "train_seconds": 61.0,
            "cv": None if cv is None else {"mrr": cv, "error": 0.004, "gallery_size": 100}, **fields,
        }  # fmt: skip
        path = clean_world / "models_archive" / name / "run.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record))
        return name

    return write


def messages(outcome) -> list[str]:
    assert outcome.code == 0, outcome.err
    return [row["message"] for row in outcome.json]


EVERY_VIEW = [[], ["--runs"], ["--by-day"], ["--plot"], ["--calibration"], ["--runs", "--by-day"],
              ["--translator", "nothing*", "--since", "7d", "--sort", "best"], ["--csv"], ["--calibration", "--json"]]  # fmt: skip


@pytest.mark.parametrize("arguments", EVERY_VIEW, ids=" ".join)
def test_every_view_works_on_an_empty_archive(kk, arguments):
    outcome = kk("leaderboard", *arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out


@pytest.mark.parametrize("arguments", EVERY_VIEW, ids=" ".join)
def test_every_view_works_on_one_record_and_on_failures_only(kk, submitted, trained, arguments):
    submitted(1, state="failed", public_score=None, cv=None, translator=None, folds=None, ref=None, train_seconds=None)
    trained("20261120-120000-broken-abcdef", None, state="failed", failure="diverged")
    assert kk("leaderboard", *arguments).code == 0
    submitted(2)
    assert kk("leaderboard", *arguments).code == 0


@pytest.mark.parametrize(("width", "shown", "hidden"), [
    (80, ["When", "Message", "CV", "Public", "Diff", "Status"], ["Folds", "Translator", "Time", "Rank"]),
    (120, ["When", "Message", "Translator", "Folds", "CV", "Public", "Diff", "Rank", "Time", "Status"], []),
    (200, ["When", "Message", "Translator", "Folds", "Ens", "CV", "Public", "Diff", "Rank", "Time", "Status"], []),
])  # fmt: skip
def test_columns_give_way_by_priority(kk, submitted, monkeypatch, width, shown, hidden):
    monkeypatch.setenv("COLUMNS", str(width))
    submitted(1, message="a long message about what is new in it", rank={"rank": 1234, "teams": 2000},
              members=[{"run": "a"}, {"run": "b"}], translator="subspace_mlp + whitened_ridge", seeds=3)  # fmt: skip
    lines = kk("leaderboard").out.splitlines()
    assert [title for title in shown if title in lines[0].split()] == shown
    assert not set(hidden) & set(lines[0].split())
    assert max(map(len, lines)) <= width
    assert lines[2].endswith("scored")


AT_80 = """\
When          Message               CV   Public      Diff  Rank  Status
─────────────────────────────────────────────────────────────────────────
04 Nov 12:00  dry run  0.7300 ± 0.0040                           not sent
03 Nov 12:00  both     0.7200 ± 0.0040  0.62000*  -0.1000     9  scored
02 Nov 12:00  try 1    0.7100 ± 0.0040  0.61000   -0.1000    14  scored
no room for ens, folds, time, move, translator
* best public score
"""
AT_120 = """\
When          Message  Translator   Folds  Ens               CV   Public      Diff  Rank  Move  Time  Status
──────────────────────────────────────────────────────────────────────────────────────────────────────────────
04 Nov 12:00  dry run  ridge            5       0.7300 ± 0.0040                                 1:15  not sent
03 Nov 12:00  both     ridge + mlp    5x3    2  0.7200 ± 0.0040  0.62000*  -0.1000     9    +5  1:15  scored
02 Nov 12:00  try 1    ridge            5       0.7100 ± 0.0040  0.61000   -0.1000    14        1:15  scored
* best public score
"""


@pytest.mark.parametrize(("width", "expected"), [(80, AT_80), (120, AT_120), (200, AT_120)])
def test_table_looks_so(kk, submitted, monkeypatch, width, expected):
    monkeypatch.setenv("COLUMNS", str(width))
    submitted(1, rank={"rank": 14, "teams": 90})
    submitted(
        2, message="both", translator="ridge + mlp", members=[{"run": "a"}, {"run": "b"}], seeds=3, rank={"rank": 9}
    )
    submitted(3, state="valid", ref=None, public_score=None, message="dry run")
    assert kk("leaderboard").out == expected


def test_rows_are_sorted_filtered_and_cut(kk, submitted):
    submitted(1, translator="ridge + residual_mlp", cv=0.9)
    submitted(2, public_score=None, state="sent")
    submitted(3, translator="mlp", public_score=0.5)
    submitted(4, ago=timedelta(hours=1), translator="mlp")
    assert messages(kk("leaderboard", "--json", "--sort", "best")) == ["try 4", "try 1", "try 3", "try 2"]
    assert messages(kk("leaderboard", "--json", "--sort", "public", "--reverse"))[0] == "try 3"
    assert messages(kk("leaderboard", "--json", "--sort", "public", "--reverse"))[-1] == "try 2"
    assert messages(kk("leaderboard", "--json", "--sort", "cv", "--top", "1")) == ["try 1"]
    assert messages(kk("leaderboard", "--json", "--reverse"))[0] in ("try 1", "try 4")
    assert messages(kk("leaderboard", "--json", "--translator", "res*")) == ["try 1"]
    assert messages(kk("leaderboard", "--json", "--translator", "ridge", "--sort", "message")) == ["try 1", "try 2"]
    assert messages(kk("leaderboard", "--json", "--since", "2h")) == ["try 4"]
    text = kk("leaderboard", "--translator", "nobody").out
    assert "none is of nobody; there are mlp, ridge, ridge + residual_mlp" in text
    assert "kk submit makes one" not in text


def test_star_stays_with_the_best_of_all(kk, submitted):
    submitted(1, translator="mlp")
    submitted(2)
    assert "*" in kk("leaderboard").out
    assert "*" not in kk("leaderboard", "--translator", "mlp").out


@pytest.mark.parametrize("since", ["yesterday", "7y", "2026-13-01", "99999999999w", "0001-01-01"])
def test_time_that_is_none_is_refused(kk, since):
    outcome = kk("leaderboard", "--since", since)
    assert outcome.code == 2
    assert "is no time to begin from" in outcome.err
    assert "2026-11-01" in outcome.err


@pytest.mark.parametrize(("arguments", "words"), [
    (["--public", "--runs"], "--runs and --public exclude each other"),
    (["--public", "--plot"], "--plot cannot be combined with --public"),
    (["--public", "--since", "7d", "--reverse"], "--reverse, --since cannot be combined with --public"),
    (["--calibration", "--top", "3"], "--top cannot be combined with --calibration"),
    (["--calibration", "--by-day", "--csv"], "--by-day, --csv cannot be combined with --calibration"),
])  # fmt: skip
def test_options_without_effect_are_refused(kk, arguments, words):
    outcome = kk("leaderboard", *arguments)
    assert outcome.code == 2
    assert words in outcome.err


def test_offered_orders_are_those_that_there_are():
    assert tuple(SORTS) == OFFERED


def test_days_show_their_best(kk, submitted):
    submitted(1)
    for number in (2, 3):
        submitted(number, created=f"2026-11-09T0{number}:00:00Z")
    (first, second) = kk("leaderboard", "--by-day", "--json").json
    assert (first["day"], first["count"], first["message"], first["best"]) == ("2026-11-09", 2, "try 3", True)
    assert (second["day"], second["count"], second["best"]) == ("2026-11-02", 1, False)
    text = kk("leaderboard", "--by-day").out
    assert "Best of the day" in text
    assert text.count("*") == 2
    assert "* best public score" in text


def test_days_of_runs_star_the_best_cv(kk, trained):
    trained("20261120-120000-mlp-000001", 0.71)
    trained("20261121-120000-mlp-000002", 0.72, created="2026-11-21T12:00:00Z")
    text = kk("leaderboard", "--runs", "--by-day").out
    assert "0.7200 ± 0.0040*" in text
    assert "* best CV" in text


def test_runs_show_what_was_trained_and_what_became_of_it(kk, submitted, trained):
    one = trained("20261120-120000-one-aaaaaa", 0.71, sweep={"name": "wide", "trial": 7})
    trained("20261120-130000-two-bbbbbb", 0.72)
    sent = submitted(1, run=one)
    rows = {row["id"]: row for row in kk("leaderboard", "--runs", "--json").json}
    assert (rows[one]["submission"], rows[one]["public_score"], rows[one]["trial"]) == (sent, 0.61, 7)
    text = kk("leaderboard", "--runs").out
    assert "0.7200 ± 0.0040*" in text
    assert "wide 7" in text
    assert "5x2" in text
    assert sent.rsplit("-", 1)[-1] in text


def test_refits_stand_beside_the_folds(kk, trained):
    trained("20261120-120000-one-aaaaaa", 0.7, refit=4)
    assert "5x2+4" in kk("leaderboard", "--runs").out
    (row,) = kk("leaderboard", "--runs", "--json").json
    assert row["refit"] == 4


def test_csv_has_every_column_and_digit(kk, submitted):
    submitted(1, public_score=0.612345678)
    (row,) = csv.DictReader(io.StringIO(kk("leaderboard", "--csv").out))
    assert row["public_score"] == "0.612345678"
    assert list(row)[:3] == ["id", "created", "message"]
    assert {"rank", "rank_change", "ensemble", "seeds", "train_seconds"} <= set(row)


def test_standing_is_told_with_its_change(kk, submitted, clean_world):
    submitted(1)
    add_standing(clean_world / "submissions_archive", "aml-competition", 15, 240)
    assert "rank 15 of 240 on the public board (looked up" in kk("leaderboard").out
    add_standing(clean_world / "submissions_archive", "aml-competition", 12, 241)
    assert "rank 12 of 241 on the public board, up 3 (looked up" in kk("leaderboard").out


def test_plot_draws_every_score_within_the_terminal(kk, submitted, monkeypatch):
    for number in range(12):
        submitted(number)
    for width in (80, 120, 200):
        monkeypatch.setenv("COLUMNS", str(width))
        lines = kk("leaderboard", "--plot").out.splitlines()
        assert max(map(len, lines)) <= width
        assert "".join(lines[:15]).count("●") == 12
        assert "".join(lines[:15]).count("○") == 12
        assert lines[-1] == "● public score   ─ best so far   ○ CV"
    assert "nothing is scored" in kk("leaderboard", "--plot", "--since", "1m").out


def test_calibration_tells_which_runs_are_worth_a_submission(kk, submitted, trained):
    for number in range(6):
        submitted(number)
    trained("20261120-120000-weak-aaaaaa", 0.70)
    trained("20261120-130000-strong-bbbbbb", 0.80)
    report = kk("leaderboard", "--calibration", "--json").json
    assert (report["slope"], report["intercept"]) == (pytest.approx(1), pytest.approx(-0.1))
    assert [(row["id"][16:], row["worth"]) for row in report["candidates"]] == [
        ("strong-bbbbbb", True),
        ("weak-aaaaaa", False),
    ]
    assert report["candidates"][0]["expected"] == pytest.approx(0.7)
    text = kk("leaderboard", "--calibration").out
    assert "public = 1.000 x CV -0.1000, scatter" in text
    assert "not worth a submission" in text
    assert "rank correlation of CV and public score (Spearman): 1.00" in text
    assert "your best public score is 0.65000" in text


def test_calibration_of_too_little_says_what_is_needed(kk, submitted):
    submitted(1)
    assert "beware: 1 comparable scored submission; 3 are needed" in kk("leaderboard", "--calibration").out


def test_notebooks_see_tables(submitted, trained):
    import kaggle_kit

    submitted(1, message="<b>x</b>")
    trained("20261120-120000-one-aaaaaa", 0.71)
    project = kaggle_kit.load_project(check_choices=False)
    for shown in (
        kaggle_kit.leaderboard(project),
        kaggle_kit.run_history(project),
        kaggle_kit.leaderboard(project, days=True),
    ):
        page = shown._repr_html_()
        assert page.startswith("<table>")
        assert "<b>" not in page
        assert "<script" not in page
    assert "3 are needed" in kaggle_kit.calibration(project)._repr_html_()


def test_submit_says_what_to_expect_before_it_sends(faulty, tiny, kk):  # noqa: F811
    for number in range(3):
        name = f"20261101-12000{number}-x-00000{number}"
        path = tiny / "submissions_archive" / name / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({
            "schema": 1, "id": name, "competition": "tiny", "created": f"2026-11-01T12:00:0{number}Z", "state": "scored",
            "cv": 0.5 + number / 10, "cv_error": 0.01, "public_score": 0.9 + number / 100, "ref": number + 1,
        }))  # fmt: skip
    outcome = kk("submit", "--dry-run", "-m", "x")
    assert outcome.code == 0, outcome.err
    assert "expected 0." in outcome.err
    assert "; your best is 0.920: " in outcome.err


def test_sync_remembers_the_rank(faulty, tiny, kk):  # noqa: F811
    assert kk("submit", "-m", "x", "-q").code == 0
    (row,) = kk("leaderboard", "--json", "--sync").json
    assert row["rank"] is not None
    text = kk("leaderboard").out
    assert "on the public board, unchanged (looked up" in text
    board = kk("leaderboard", "--public", "--json").json
    assert {"to_next", "to_top"} <= set(board[0])
    assert "rank" in kk("leaderboard", "--public").out.splitlines()[-1]
