"""Tables at several widths: numbers whole, text shortened, columns giving way in order."""

from __future__ import annotations

import csv
import io

import pytest
from rich.console import Console

from kaggle_kit.render.tables import Column, Grid
from kaggle_kit.render.text import number

COLUMNS = (
    Column("when", "When"),
    Column("message", "Message", least=10),
    Column("translator", "Translator", least=8, order=2),
    Column("folds", "Folds", str, right=True, order=3),
    Column("cv", "CV", number, right=True),
    Column("private", "Private", number, right=True, order=1),
)
ROW = {
    "when": "2026-11-23 14:15",
    "message": "residual, five folds, with a temperature of 0.01 and mixup of 0.3, second try",
    "translator": "residual_mlp",
    "folds": 5,
    "cv": 0.73219876,
    "private": 0.70001,
}


def drawn(grid: Grid, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), markup=False, highlight=False)
    console.print(grid)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_table_fits_and_numbers_are_whole(width):
    text = drawn(Grid(COLUMNS, [ROW, {**ROW, "cv": 0.5}]), width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert "0.7322" in text
    assert "0.5000" in text
    assert "2026-11-23 14:15" in text


def test_text_is_whole_when_there_is_room():
    text = drawn(Grid(COLUMNS, [ROW]), 200)
    assert ROW["message"] in text
    assert "…" not in text


def test_message_is_shortened_before_any_column_goes():
    text = drawn(Grid(COLUMNS, [ROW]), 80)
    assert "residual, fi" in text
    assert "…" in text
    assert "no room" not in text
    assert "residual_mlp" in text


def test_columns_of_highest_order_give_way_and_are_named():
    text = drawn(Grid(COLUMNS, [ROW]), 45)
    assert "Folds" not in text
    assert "no room for folds" in text
    assert "0.7322" in text


def test_empty_columns_give_way_first_and_silently():
    text = drawn(Grid(COLUMNS, [{**ROW, "private": None}]), 62)
    assert "Private" not in text
    assert "Folds" in text
    assert "no room" not in text


def test_no_rows_is_said():
    assert drawn(Grid(COLUMNS, [], empty="no submissions yet"), 80) == "no submissions yet\n"


def test_missing_values_are_blank():
    assert drawn(Grid((Column("a", "A"), Column("b", "B", number)), [{"a": "x"}]), 80).splitlines()[2].strip() == "x"


def test_text_from_outside_is_harmless():
    text = drawn(Grid((Column("team", "Team"),), [{"team": "[red]evil\x1b[2J\n[/red]"}]), 80)
    assert "[red]evil\\x1b[2J [/red]" in text
    assert "\x1b" not in text


def test_wide_characters_are_shortened_by_their_width():
    text = drawn(Grid((Column("m", "M", least=4), Column("n", "N", str)), [{"m": "例" * 50, "n": 1}]), 20)
    assert all(len(line.rstrip()) <= 20 for line in text.splitlines())
    assert "…" in text


def test_wrapped_text_is_complete():
    text = drawn(Grid((Column("key", "Key"), Column("meaning", "Meaning", least=10)),
                      [{"key": "a.b", "meaning": "one two three four five"}], wrap=True), 20)  # fmt: skip
    assert "".join(text.split()).endswith("a.bonetwothreefourfive")


def test_style_marks_a_row():
    console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="standard")
    console.print(Grid(COLUMNS[:2], [ROW], style=lambda row: "bold" if row["cv"] > 0.7 else ""))
    assert "\x1b[1m2026-11-23" in console.file.getvalue()


def test_csv_has_every_column_unformatted():
    rows = list(csv.DictReader(io.StringIO(Grid(COLUMNS, [ROW, {"message": 'a "quoted", one'}]).to_csv())))
    assert rows[0]["cv"] == "0.73219876"
    assert (rows[1]["message"], rows[1]["cv"]) == ('a "quoted", one', "")


@pytest.mark.parametrize("wrap", [True, False])
def test_texts_give_more_than_their_least_before_lines_get_too_long(wrap):
    columns = (Column("status", ""), Column("check", "", least=8), Column("text", "", least=30))
    rows = [{"status": "warning", "check": "disk: project", "text": "little is left of what a run takes"}]
    text = drawn(Grid(columns, rows, wrap=wrap, heading=False), 34)
    assert max(map(len, text.rstrip().splitlines())) <= 34
    assert "warning" in text
