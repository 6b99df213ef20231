"""What a benchmark measured is added to the history of its figures."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import torch
from benchmarks import history


def test_a_measurement_is_one_line_that_tells_where_it_is_from(tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", ["prediction.py", "--rounds", "3"])
    path = tmp_path / "history.jsonl"
    for seconds in (1.5, 2.5):
        history.remember("prediction", {"seconds": seconds}, path)
    first, second = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    assert (first["figures"], second["figures"]) == ({"seconds": 1.5}, {"seconds": 2.5})
    assert first["command"] == "python -m tests.benchmarks.prediction --rounds 3"
    assert first["torch"] == torch.__version__
    assert first["machine"] == history.machine() != ""
    assert abs(datetime.now(UTC) - datetime.fromisoformat(first["date"])).total_seconds() < 3600


def test_the_kept_history_can_be_read():
    lines = history.HISTORY.read_text(encoding="utf-8").splitlines()
    known = {"date", "benchmark", "commit", "torch", "machine", "figures"}
    assert lines
    assert all(known <= json.loads(line).keys() for line in lines)
