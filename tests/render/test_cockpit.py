"""The tables that one steers by, at the widths of real terminals."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from kaggle_kit.archive import HistoryTable
from kaggle_kit.render import cockpit


def drawn(view: Any, width: int = 120) -> str:
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    for part in view:
        console.print(part)
    return console.file.getvalue()


def history(*rows: dict[str, Any]) -> HistoryTable:
    plain = {"created": "2026-11-23T14:15:00Z", "message": "m", "translator": "residual_mlp", "folds": 5, "cv": 0.5, "cv_error": 0.01,
             "public_score": None, "private_score": None, "difference": None, "status": "sent", "ref": 1, "id": "x"}  # fmt: skip
    return HistoryTable(tuple(plain), [{**plain, **row} for row in rows])


FULL = {"message": "residual, five folds, a very long message that has to give way", "public_score": 0.62345,
        "private_score": 0.61234, "difference": 0.12345, "status": "scored"}  # fmt: skip


@pytest.mark.parametrize("width", [80, 120, 200])
def test_history_fits_and_keeps_scores_whole(width):
    text = drawn(cockpit.history(history(FULL, {})), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "0.5000 ± 0.0100" in text
    assert "0.62345*" in text
    assert "23 Nov" in text
    assert "scored" in text


def test_history_stars_only_the_best():
    text = drawn(cockpit.history(history({"public_score": 0.6}, {"public_score": 0.7}, {"public_score": 0.65})))
    assert "0.70000*" in text
    assert text.count("*") == 2
    assert "* best public score" in text


def test_history_of_one_has_neither_star_nor_footnote():
    text = drawn(cockpit.history(history({"public_score": 0.6})))
    assert "0.60000" in text
    assert "*" not in text
    assert "best public score" not in text


def test_empty_history_says_how_to_begin():
    assert drawn(cockpit.history(history())) == "no submissions yet; kk submit makes one\n"


def test_history_cannot_draw_on_the_terminal():
    text = drawn(cockpit.history(history({"message": "\x1b[2J[bold]gone"})))
    assert "\\x1b[2J[bold]gone" in text
    assert "\x1b" not in text
