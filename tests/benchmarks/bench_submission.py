"""Time of writing and of checking a submission of the competition's size, beside what people use: pandas, csv and json.

All ways take the same float32 vectors and end with a file that was flushed to the disk, or with float32 vectors whose ids and shape were
looked at. Rounds alternate between the ways, so that whatever else the machine does falls on all of them; the best round of each counts.
Processor seconds stand beside the wall's, because they say the same on a busy machine::

    python -m tests.benchmarks.bench_submission
    python -m tests.benchmarks.bench_submission --rows 300 --rounds 5
"""

from __future__ import annotations

import argparse
import ast
import csv
import json
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from kaggle_kit.submission import round_digits, validate_submission, write_submission
from tests.benchmarks.history import remember


def main() -> None:
    """Measure, print two tables, add the line."""
    options = _options()
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((options.rows, options.dimension)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = np.arange(1, options.rows + 1)
    with tempfile.TemporaryDirectory(prefix="kk-bench-", dir=options.folder) as name:
        folder = Path(name)
        print(
            f"{options.rows:,} x {options.dimension:,} float32, {os.cpu_count()} cores, best of {options.rounds} rounds\n"
        )
        writing = _race(_writers(folder, ids, vectors), options.rounds)
        _print("writing", writing, folder)
        checking = _race(_checkers(folder, ids, vectors), options.rounds)
        _print("checking", checking, folder)
        peaks = {
            "writing": _peak(lambda: write_submission(folder / "peak.csv", ids, vectors)),
            "checking": _peak(lambda: validate_submission(folder / "kk.csv", ids, options.dimension)),
        }
        print(
            f"peak memory of writing {peaks['writing']:.1f} MB, "
            f"of checking {peaks['checking']:.1f} MB (a block; NumPy's and Python's own allocations)"
        )
    times = {"writing": _seconds(writing), "checking": _seconds(checking)}
    remember("bench_submission", {"rows": options.rows, "dimension": options.dimension, **times, "peak_mb": peaks})


def _writers(folder: Path, ids: np.ndarray, vectors: np.ndarray) -> dict[str, tuple[str, Callable[[], object]]]:
    return {
        "kk": ("kk.csv", lambda: write_submission(folder / "kk.csv", ids, vectors)),
        "kk, 5 digits": ("digits.csv", lambda: write_submission(folder / "digits.csv", ids, vectors, digits=5)),
        "kk, zip": ("kk.zip", lambda: write_submission(folder / "kk.zip", ids, vectors)),
        "pandas": ("pandas.csv", lambda: _write_pandas(folder / "pandas.csv", ids, vectors)),
        "csv + json": ("json.csv", lambda: _write_json(folder / "json.csv", ids, vectors)),
    }


def _write_pandas(path: Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    """As the organisers' own code does."""
    with open(path, "w", newline="") as file:
        pd.DataFrame({"id": ids, "embedding": [row.tolist() for row in vectors]}).to_csv(file, index=False)
        _flush(file)


def _write_json(path: Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "embedding"])
        writer.writerows([row_id, json.dumps(row.tolist())] for row_id, row in zip(ids, vectors, strict=True))
        _flush(file)


def _flush(file: object) -> None:
    file.flush()  # type: ignore[attr-defined]
    os.fsync(file.fileno())  # type: ignore[attr-defined]


def _checkers(folder: Path, ids: np.ndarray, vectors: np.ndarray) -> dict[str, tuple[str, Callable[[], object]]]:
    csv.field_size_limit(1 << 30)
    dimension = vectors.shape[1]
    exact = {"kk.csv": vectors, "pandas.csv": vectors, "digits.csv": round_digits(vectors, 5)}
    return {
        "kk": ("kk.csv", lambda: _check_kk(folder / "kk.csv", ids, dimension)),
        "kk, of pandas' file": ("pandas.csv", lambda: _check_kk(folder / "pandas.csv", ids, dimension)),
        "kk, of 5 digits": ("digits.csv", lambda: _check_kk(folder / "digits.csv", ids, dimension)),
        "pandas + json": ("kk.csv", lambda: _check_pandas(folder / "kk.csv", ids, exact["kk.csv"])),
        "csv + json": ("kk.csv", lambda: _check_csv(folder / "kk.csv", ids, exact["kk.csv"], json.loads)),
        "csv + literal_eval": ("kk.csv", lambda: _check_csv(folder / "kk.csv", ids, exact["kk.csv"], ast.literal_eval)),
    }


def _check_kk(path: Path, ids: np.ndarray, dimension: int) -> None:
    report = validate_submission(path, ids, dimension)
    assert report.valid, report.errors


def _check_pandas(path: Path, ids: np.ndarray, expected: np.ndarray) -> None:
    frame = pd.read_csv(path)
    _compare(frame["id"], map(json.loads, frame["embedding"]), ids, expected)


def _check_csv(path: Path, ids: np.ndarray, expected: np.ndarray, parse: Callable[[str], list[float]]) -> None:
    with open(path, newline="") as file:
        rows = list(csv.reader(file))[1:]
    _compare([int(row[0]) for row in rows], (parse(row[1]) for row in rows), ids, expected)


def _compare(found_ids: Iterable[int], lists: Iterable[list[float]], ids: np.ndarray, expected: np.ndarray) -> None:
    vectors = np.array([np.array(one, dtype=np.float32) for one in lists])
    assert list(found_ids) == ids.tolist()
    assert np.isfinite(vectors).all()
    assert (vectors == expected).all()


def _race(ways: dict[str, tuple[str, Callable[[], object]]], rounds: int) -> dict[str, tuple[str, float, float]]:
    """Each way's file, and its best times in wall and in processor seconds."""
    best: dict[str, tuple[str, float, float]] = {}
    for _ in range(rounds):
        for name, (file, run) in ways.items():
            started, spent = time.perf_counter(), time.process_time()
            run()
            wall, processor = time.perf_counter() - started, time.process_time() - spent
            _, best_wall, best_processor = best.get(name, (file, wall, processor))
            best[name] = file, min(wall, best_wall), min(processor, best_processor)
    return best


def _seconds(times: dict[str, tuple[str, float, float]]) -> dict[str, dict[str, float]]:
    return {name: {"wall_s": wall, "cpu_s": processor} for name, (_, wall, processor) in times.items()}


def _print(title: str, times: dict[str, tuple[str, float, float]], folder: Path) -> None:
    _, our_wall, our_processor = times["kk"]
    print(f"{title:24}{'MB':>8}{'wall s':>9}{'MB/s':>8}{'times kk':>10}{'cpu s':>9}{'times kk':>10}")
    for name, (file, wall, processor) in times.items():
        size = (folder / file).stat().st_size / 1e6
        print(
            f"{name:24}{size:8.1f}{wall:9.3f}{size / wall:8.0f}{wall / our_wall:10.1f}{processor:9.3f}{processor / our_processor:10.1f}"
        )
    print()


def _peak(run: Callable[[], object]) -> float:
    tracemalloc.start()
    run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1500)
    parser.add_argument("--dimension", type=int, default=1536)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--folder", type=Path, default=None, help="where to write; default: the system's temporary folder"
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
