"""How long ``kk leaderboard`` takes with thousands of records, start included: ``python -m tests.benchmarks.bench_leaderboard 5000``."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.benchmarks.history import remember

count = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
chance, now = random.Random(0), datetime(2026, 3, 1, tzinfo=UTC)
history = [
    {"state": state, "at": now.isoformat(), "note": "x" * 40}
    for state in ("built", "valid", "sending", "sent", "scored")
]
seconds: list[dict[str, object]] = []

with tempfile.TemporaryDirectory() as folder:
    for number in range(count):
        now += timedelta(minutes=53)
        cv, name = 0.6 + 0.3 * chance.random(), f"{now:%Y%m%d-%H%M%S}-bench-{number:06x}"
        record = {
            "schema": 1, "id": name, "competition": "aml-competition", "created": now.isoformat(timespec="milliseconds"),
            "state": "scored", "message": f"try {number}, with more dropout and a longer message", "translator": "ridge",
            "folds": 5, "cv": cv, "cv_error": 0.005, "public_score": round(cv - 0.15 + chance.gauss(0, 0.01), 5),
            "ref": number + 1, "train_seconds": 75.0, "history": history, "provenance": {"argv": ["kk"] * 40},
        }  # fmt: skip
        path = Path(folder) / "submissions_archive" / name / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(record, indent=2))
        os.utime(path, (1_700_000_000, 1_700_000_000))
    for arguments in (
        ["--version"],
        ["leaderboard"],
        ["leaderboard"],
        ["leaderboard", "--json"],
        ["leaderboard", "--calibration"],
    ):
        before, start = os.times(), time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "kaggle_kit", *arguments], cwd=folder, stdout=subprocess.DEVNULL, check=True
        )
        after = os.times()
        work = after.children_user + after.children_system - before.children_user - before.children_system
        wall = time.perf_counter() - start
        print(f"kk {' '.join(arguments):28} {wall:6.2f} s, of which {work:.2f} s computing")
        seconds.append({"arguments": arguments, "wall_s": round(wall, 3), "cpu_s": round(work, 3)})
remember("bench_leaderboard", {"records": count, "calls": seconds})
