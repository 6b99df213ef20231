"""Words and numbers as people read them."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest

from kaggle_kit.render.text import clean, clock, counted, duration, figure, moment, number, signed, size


@pytest.mark.parametrize(
    ("outside", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "\\x1b[31mred\\x1b[0m"),
        ("two\nlines\tand tab", "two lines and tab"),
        ("back\bspace \x07bell", "back\\x08space \\x07bell"),
        ("\u202egnp.exe", "\\u202egnp.exe"),
        ("\x9b2J", "\\x9b2J"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("lone \udc80", "lone \\udc80"),
        ("[bold]markup[/bold]", "[bold]markup[/bold]"),
        ("naïve 例 ± …", "naïve 例 ± …"),
        (None, "None"),
    ],
)
def test_clean_text_can_do_nothing_to_a_terminal(outside, shown):
    assert clean(outside) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.73214, "0.7321"), (None, ""), (math.nan, ""), (1, "1.0000"), (-0.5, "-0.5000")]
)
def test_number_has_four_decimals_or_nothing(value, shown):
    assert number(value) == shown


def test_difference_has_a_sign():
    assert [signed(0.0123), signed(-0.0123), signed(None)] == ["+0.0123", "-0.0123", ""]


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (28_812_345, "28.8 MB"), (626_741_039, "627 MB"), (3.79e9, "3.8 GB"), (5e15, "5000 TB")],
)  # fmt: skip
def test_size_is_in_decimal_units(count, shown):
    assert size(count) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.04, "0.0 s"), (59.94, "59.9 s"), (59.96, "1 min 00 s"), (250, "4 min 10 s"), (7500, "2 h 05 min"), (None, "-"), (math.inf, "-")],
)  # fmt: skip
def test_duration_reads_like_speech(seconds, shown):
    assert duration(seconds) == shown


@pytest.mark.parametrize(("seconds", "shown"), [(42, "0:42"), (725, "12:05"), (3723, "1:02:03"), (None, "-:--")])
def test_clock_shows_what_is_left(seconds, shown):
    assert clock(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(2.71828, "2.718"), (12345.6, "12,346"), (3, "3"), (1e-5, "1e-05"), ("x", "x")]
)
def test_figure_is_short(value, shown):
    assert figure(value) == shown


def test_moment_is_local_time(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "Europe/Rome")
    time.tzset()
    try:
        assert moment("2026-01-05T12:30:10Z") == "2026-01-05 13:30"
        assert moment(datetime(2026, 7, 5, 12, 30, tzinfo=UTC)) == "2026-07-05 14:30"
        assert moment("2026-01-05T12:30:10") == "2026-01-05 13:30"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert [moment(None), moment("yesterday\x1b")] == ["", "yesterday\\x1b"]


def test_counts_agree_in_number():
    assert [counted(1, "row"), counted(1500, "row"), counted(0, "entry", "entries")] == [
        "1 row",
        "1,500 rows",
        "0 entries",
    ]
