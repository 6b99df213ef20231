"""What goes to which stream."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.errors import ConfigError, QuotaError
from kaggle_kit.progress import SILENCE
from kaggle_kit.render import Screen
from kaggle_kit.render.plain import plain


def test_result_goes_to_stdout_and_notes_to_stderr(capfdbinary):
    screen = Screen()
    screen.note("using the mounted data")
    screen.show({"rows": 1}, lambda data: [f"{data['rows']} row [bold]"])
    out, err = capfdbinary.readouterr()
    assert out == b"1 row [bold]\n"
    assert err == b"using the mounted data\n"


def test_json_is_the_only_thing_on_stdout(capfdbinary):
    screen = Screen(json=True)
    screen.note("a note")
    screen.show({"rows": 1}, lambda data: ["one row"])
    out, err = capfdbinary.readouterr()
    assert json.loads(out) == {"rows": 1}
    assert err == b"a note\n"


def test_quiet_shows_the_result_only(capfdbinary):
    screen = Screen(quiet=True)
    screen.note("a note")
    screen.show(None, lambda data: ["result"])
    screen.warn("another server")
    assert capfdbinary.readouterr() == (b"result\n", b"another server\n")
    assert screen.progress is SILENCE


def test_error_is_text_with_a_hint_on_stderr(capfdbinary):
    Screen().error(QuotaError("0 of 5 submissions are left today", "try again in 3 hours"))
    assert capfdbinary.readouterr() == (
        b"",
        b"Error: 0 of 5 submissions are left today\nHint: try again in 3 hours\n",
    )


def test_error_is_an_object_on_stdout_with_json(capfdbinary):
    Screen(json=True).error(QuotaError("none left", "wait"))
    out, err = capfdbinary.readouterr()
    assert json.loads(out) == {
        "ok": False,
        "error": {"code": 5, "kind": "quota", "message": "none left", "hint": "wait"},
    }
    assert err == b"Error: none left\nHint: wait\n"


def test_every_problem_of_an_error_has_its_line_and_cannot_draw(capfdbinary):
    Screen().error(ConfigError(["kk.toml: first", "kk.toml: \x1b[2Jsecond"], "look"))
    assert capfdbinary.readouterr().err == b"Error: kk.toml: first\n       kk.toml: \\x1b[2Jsecond\nHint: look\n"


def test_long_error_lines_are_never_broken(capfdbinary):
    Screen().error(QuotaError("word " * 100))
    assert capfdbinary.readouterr().err.count(b"\n") == 1


@dataclass
class Result:
    path: Path
    when: datetime
    score: float
    ids: np.ndarray


class Sealed:
    def to_dict(self) -> dict[str, object]:
        return {"id": "a", "rows": (1, 2)}


def test_results_become_plain_data():
    result = Result(Path("a/b"), datetime(2026, 1, 5, tzinfo=UTC), float("nan"), np.arange(2))
    assert plain([result, Sealed(), np.float32(0.5), {1: {3}}, "\udc80"]) == [
        {"path": "a/b", "when": "2026-01-05T00:00:00+00:00", "score": None, "ids": [0, 1]},
        {"id": "a", "rows": [1, 2]},
        0.5,
        {"1": [3]},
        "?",
    ]


@pytest.mark.parametrize("columns", ["40", "200"])
def test_width_is_taken_from_the_environment(monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    assert Screen().out.width == int(columns)


def test_width_is_generous_when_nobody_limits_it(monkeypatch):
    monkeypatch.delenv("COLUMNS")
    assert Screen().out.width == 200
