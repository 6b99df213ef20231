"""The writer: exact, deterministic, atomic."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import stat
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaggle_kit.competition import SubmissionFormat
from kaggle_kit.errors import SubmissionError, UsageError
from kaggle_kit.files import sha256_of
from kaggle_kit.submission import WritingFormat, round_digits, write_submission


def read_plainly(text: str) -> tuple[list[str], list[str], np.ndarray]:
    """Header, ids and vectors by csv and json alone."""
    header, *rows = csv.reader(io.StringIO(text, newline=""))
    vectors = np.array([json.loads(cell) for _, cell in rows], dtype=np.float64).astype(np.float32)
    return header, [row[0] for row in rows], vectors


def test_written_file_reads_back_as_the_same_float32(tmp_path: Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    vectors[0, :4] = [1e-38, 3.4028235e38, -0.0, 1.17549435e-38]
    written = write_submission(tmp_path / "s.csv", ids, vectors)
    header, found_ids, found = read_plainly(written.path.read_text())
    assert header == ["id", "embedding"]
    assert found_ids == [str(one) for one in ids]
    assert found.tobytes() == vectors.tobytes()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=30))
def test_any_finite_float32_survives_writing(tmp_path_factory: pytest.TempPathFactory, values: list[float]) -> None:
    vectors = np.array([values], dtype=np.float32)
    written = write_submission(tmp_path_factory.mktemp("w") / "s.csv", [1], vectors)
    assert read_plainly(written.path.read_text())[2].tobytes() == vectors.tobytes()


def test_numbers_are_the_shortest_that_are_exact(tmp_path: Path) -> None:
    written = write_submission(tmp_path / "s.csv", [1], np.array([[0.1, 1 / 3, 2.5e-8]], dtype=np.float32))
    assert written.path.read_text() == 'id,embedding\n1,"[0.1,0.33333334,2.5e-8]"\n'


def test_file_facts_match_the_file(tmp_path: Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    written = write_submission(tmp_path / "s.csv", ids, vectors)
    assert written.sha256 == written.content_sha256 == sha256_of(written.path)
    assert written.size == written.path.stat().st_size
    assert written.to_dict()["format"] == "kk-csv-1"


@pytest.mark.parametrize("name", ["s.csv", "s.csv.zip", "s.csv.gz"])
def test_same_vectors_give_the_same_bytes_every_time(
    tmp_path: Path, ids: np.ndarray, vectors: np.ndarray, name: str
) -> None:
    one = write_submission(tmp_path / "one" / name, ids, vectors)
    other = write_submission(tmp_path / "other" / name, list(ids), np.asfortranarray(vectors))
    assert one.path.read_bytes() == other.path.read_bytes()


def test_compressed_files_hold_the_plain_one(tmp_path: Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    plain = write_submission(tmp_path / "s.csv", ids, vectors)
    packed = write_submission(tmp_path / "s.zip", ids, vectors)
    squeezed = write_submission(tmp_path / "s.csv.gz", ids, vectors)
    with zipfile.ZipFile(packed.path) as archive:
        assert archive.namelist() == ["s.csv"]
        assert archive.read("s.csv") == plain.path.read_bytes()
    assert gzip.decompress(squeezed.path.read_bytes()) == plain.path.read_bytes()
    assert packed.content_sha256 == squeezed.content_sha256 == plain.sha256
    assert packed.sha256 == sha256_of(packed.path)


@pytest.mark.parametrize("digits", range(1, 10))
def test_digits_are_rounded_as_printf_rounds(tmp_path: Path, digits: int) -> None:
    generator = np.random.default_rng(digits)
    values = (generator.standard_normal(500) * 10.0 ** generator.integers(-30, 30, 500)).astype(np.float32)
    text = write_submission(tmp_path / "s.csv", [1], values[None], digits=digits).path.read_text()
    written = json.loads(text.split('"')[1])
    expected = [np.float32(f"{value:.{digits - 1}e}") for value in values.tolist()]
    assert [np.float32(value) for value in written] == expected
    mantissas = [f"{value}".split("e")[0].replace(".", "").replace("-", "").strip("0") for value in written]
    assert max(map(len, mantissas)) <= digits


def test_rounding_leaves_zero_and_the_largest_numbers_finite() -> None:
    values = np.array([[0.0, -0.0, 3.4028235e38, 1e-45]], dtype=np.float32)
    for digits in range(1, 10):
        assert np.isfinite(round_digits(values, digits)).all()
    assert round_digits(values, None) is values


def test_format_id_names_everything_that_decides_the_bytes() -> None:
    for digits in (None, 4):
        for compress in (None, "zip", "gz"):
            writing = WritingFormat(digits, compress)
            assert WritingFormat.from_id(writing.id) == writing
    assert WritingFormat.from_id("foreign") is None
    assert WritingFormat.from_id("kk-csv-2") is None


def test_column_names_and_text_ids_follow_the_competition(tmp_path: Path) -> None:
    columns = SubmissionFormat(id_column="caption,id", embedding_column="vector")
    path = write_submission(tmp_path / "s.csv", ["a", 'b"c', "d,e"], np.ones((3, 2), np.float32), columns).path
    rows = list(csv.reader(io.StringIO(path.read_text(), newline="")))
    assert rows[0] == ["caption,id", "vector"]
    assert [row[0] for row in rows[1:]] == ["a", 'b"c', "d,e"]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_refused_with_their_row(
    tmp_path: Path, ids: np.ndarray, vectors: np.ndarray, value: float
) -> None:
    target = tmp_path / "s.csv"
    target.write_text("what was there")
    vectors[4, 2] = value
    with pytest.raises(SubmissionError, match=r"row 5 \(id 5\): number 3 is -?(nan|inf), not finite"):
        write_submission(target, ids, vectors)
    assert target.read_text() == "what was there"
    assert list(tmp_path.glob("*.csv")) + list(tmp_path.glob(".*")) == [target]


def test_input_that_does_not_fit_is_refused(tmp_path: Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    with pytest.raises(SubmissionError, match=r"12 ids need vectors of shape \(12, d\), not \(11, 8\)"):
        write_submission(tmp_path / "s.csv", ids, vectors[1:])
    with pytest.raises(SubmissionError, match="must be float32, not float64"):
        write_submission(tmp_path / "s.csv", ids, vectors.astype(np.float64))
    with pytest.raises(SubmissionError, match="id 3 is given twice"):
        write_submission(tmp_path / "s.csv", [1, 2, 3, 3], vectors[:4])
    with pytest.raises(SubmissionError, match="at least one row"):
        write_submission(tmp_path / "s.csv", [], vectors[:0])
    with pytest.raises(UsageError, match="digits must be from 1 to 9, not 0"):
        write_submission(tmp_path / "s.csv", ids, vectors, digits=0)
    with pytest.raises(UsageError, match="compress must be one of zip, gz, not 'rar'"):
        write_submission(tmp_path / "s.csv", ids, vectors, compress="rar")


def test_file_has_the_users_umask_and_no_group_write(tmp_path: Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    before = os.umask(0o077)
    try:
        private = write_submission(tmp_path / "private.csv", ids, vectors).path
    finally:
        os.umask(before)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600


def test_memory_stays_at_a_block(tmp_path: Path) -> None:
    vectors = np.random.default_rng(0).standard_normal((2000, 256)).astype(np.float32)
    tracemalloc.start()
    written = write_submission(tmp_path / "s.csv", np.arange(2000), vectors)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert written.size > 5_000_000
    assert peak < 2_000_000
