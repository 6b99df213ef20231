"""The validator: every kind of problem is found, named and placed; nothing else is."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.competition import SubmissionFormat
from kaggle_kit.errors import MissingError, SubmissionError, UsageError
from kaggle_kit.submission import (
    Problem,
    ValidationReport,
    read_vectors,
    validate_submission,
    vectors_sha256,
    write_submission,
)

Rewrite = Callable[[Callable[[list[str]], list[str]]], Path]
ROWS, DIMENSION = 12, 8


def look(path: Path, **more: object) -> ValidationReport:
    return validate_submission(path, np.arange(1, ROWS + 1), DIMENSION, **more)  # type: ignore[arg-type]


def only(report: ValidationReport) -> Problem:
    assert report.error_count == 1, report.errors
    assert not report.valid
    return report.errors[0]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_lines_are_counted_across_millions_of_empty_ones(tmp_path: Path, ending: str) -> None:
    (tmp_path / "s.csv").write_bytes(ending.join(["id,embedding", *[""] * 1_500_000, "x,[]", ""]).encode())
    report = validate_submission(tmp_path / "s.csv", [1], 2)
    assert [(problem.kind, problem.line) for problem in report.errors[:2]] == [
        ("id", 1_500_002),
        ("dimension", 1_500_002),
    ]


def test_good_file_is_valid_and_described(good_file: Path, vectors: np.ndarray) -> None:
    report = look(good_file)
    assert report.valid
    assert (report.errors, report.warnings) == ([], [])
    assert (report.rows, report.expected_rows, report.dimension, report.container) == (12, 12, 8, "csv")
    assert report.vectors_sha256 == vectors_sha256(vectors)
    assert report.norms is not None
    assert report.norms[0] == pytest.approx(np.linalg.norm(vectors, axis=1).min())
    report.raise_for_errors(strict=True)


def test_vectors_are_read_back_exactly(good_file: Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    assert read_vectors(good_file, ids, DIMENSION).tobytes() == vectors.tobytes()


def test_pandas_file_is_valid(tmp_path: Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": ids, "embedding": [row.astype(float).tolist() for row in vectors]})
    frame.to_csv(tmp_path / "s.csv", index=False)
    assert look(tmp_path / "s.csv").valid


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("\n", "\r"),
        lambda text: text.rstrip("\n"),
        lambda text: text + "\n\n",
        lambda text: text.replace(",", " , ").replace("id , embedding", "id,embedding").replace(' , "', ',"'),
        lambda text: text.replace("[", "\t[\r\n "),
        lambda text: text.replace("id,embedding", '"id","embedding"'),
        lambda text: text.replace("\n3,", '\n"3",'),
        lambda text: text.replace("\n3,", "\n 3\t,"),
        lambda text: text.replace(']"', '"]'),
    ],
    ids=[
        "crlf",
        "cr",
        "no end",
        "blank lines",
        "blanks",
        "breaks",
        "quoted header",
        "quoted id",
        "blank id",
        "early quote",
    ],
)
def test_whatever_csv_and_json_read_is_valid(
    good_file: Path, vectors: np.ndarray, change: Callable[[str], str]
) -> None:
    good_file.write_bytes(change(good_file.read_text()).encode())
    report = look(good_file)
    assert report.valid, report.errors
    assert report.vectors_sha256 == vectors_sha256(vectors)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,embeddings", "no column 'embedding'; 'embeddings' looks like it"),
        ("ID,embedding", "no column 'id'; 'ID' looks like it"),
        ("id,Embedding", "no column 'embedding'; 'Embedding' looks like it"),
        ("id , embedding", "no column 'id'; 'id ' looks like it"),
        ("caption_id,embedding", "no column 'id'"),
    ],
)
def test_near_miss_in_the_header_is_named(changed: Rewrite, header: str, message: str) -> None:
    report = look(changed(lambda lines: [header, *lines[1:]]))
    assert set(report.error_kinds) == {"header"}
    assert report.errors[0].message == message
    assert report.errors[0].line == 1
    assert report.rows == ROWS


def test_missing_header_is_one_problem(changed: Rewrite) -> None:
    problem = only(look(changed(lambda lines: lines[1:])))
    assert problem.message == "no header: the first line should be id,embedding"


def test_index_column_of_pandas_is_named(changed: Rewrite) -> None:
    report = look(changed(lambda lines: [("0," if i else ",") + line for i, line in enumerate(lines)]))
    assert "index=False" in only(report).message


def test_columns_the_other_way_round_are_an_error(changed: Rewrite) -> None:
    def swap(lines: list[str]) -> list[str]:
        return ["embedding,id", *(f"{line.split(',', 1)[1]},{line.split(',', 1)[0]}" for line in lines[1:])]

    assert "order" in only(look(changed(swap))).message


def test_semicolons_are_named_once(changed: Rewrite) -> None:
    problem = only(look(changed(lambda lines: [line.replace(",", ";") for line in lines])))
    assert "separated by commas" in problem.message


@pytest.mark.parametrize(
    ("cell", "kind", "words"),
    [
        ("[1,NaN,3,4,5,6,7,8]", "nan", "number 2 is not a number"),
        ("[1,2,nan,4,5,6,7,nan]", "nan", "not a number"),
        ("[1,2,3,Infinity,5,6,7,8]", "infinity", "number 4 is infinite"),
        ("[1,2,3,-inf,5,6,7,8]", "infinity", "infinity"),
        ("[1,2,3,1e39,5,6,7,8]", "infinity", "number 4 is too large for float32"),
        ("[1,2,3,1e999,5,6,7,8]", "infinity", "number 4 is infinite"),
        (f"[1,2,3,{'9' * 400},5,6,7,8]", "infinity", "number 4 is too large for float32"),
        ("[null,2,3,4,5,null,7,8]", "null", "number 1 is missing (and 1 more like it)"),
        ("[None,2,3,4,5,6,7,8]", "null", "a missing number"),
        ("", "null", "the list is missing"),
        ("nan", "nan", "not a number"),
        ("[np.float32(1.5),2,3,4,5,6,7,8]", "numpy_text", "vector.tolist()"),
        ("[1 2 3 4 5 6 7 8]", "list", "without commas"),
        ("[1. 2. 3. 4. 5. 6. 7. 8.]", "list", "without commas"),
        ("[1,2,3,...,8]", "list", "shortened by printing"),
        ("(1,2,3,4,5,6,7,8)", "list", "a tuple"),
        ("[1,2,3,4,5,6,7,8", "list", "not a list of numbers at character"),
        ("[1,2,3,4,5,6,7,8,]", "list", "not a list of numbers at character"),
        ("[1,2,3,4,5,6,7,.8]", "list", "not a list of numbers at character"),
        ("[1,2,3,4,5,6,7]", "dimension", "7 numbers instead of 8"),
        ("[1,2,3,4,5,6,7,8,9]", "dimension", "9 numbers instead of 8"),
        ("[]", "dimension", "0 numbers instead of 8"),
        ("[[1,2,3,4,5,6,7,8]]", "number", "number 1 is a list, not a number"),
        ("[1,2,3,true,5,6,7,8]", "number", "number 4 is true or false, not a number"),
        ('[1,2,3,""4"",5,6,7,8]', "number", "number 4 is text, not a number"),
        ("5", "list", "a single number, not a list"),
        ('{""a"":1}', "list", "an object, not a list"),
        ("[" * 100_000, "list", "not a list of numbers"),
        ("[0,0,0,0,0,-0,0,1e-60]", "zero", "all numbers are zero"),
        ("[1,2,3,4,5,6,7,8é]", "list", "not a list of numbers at character"),
    ],
)
def test_bad_list_is_named_with_its_row(changed: Rewrite, cell: str, kind: str, words: str) -> None:
    problem = only(look(changed(lambda lines: [*lines[:4], f'4,"{cell}"', *lines[5:]])))
    assert (problem.kind, problem.line, problem.row, problem.id, problem.column) == (kind, 5, 4, "4", "embedding")
    assert words in problem.message
    assert len(problem.found or "") <= 60


def test_unquoted_list_is_named(changed: Rewrite) -> None:
    problem = only(look(changed(lambda lines: [*lines[:4], lines[4].replace('"', ""), *lines[5:]])))
    assert (problem.kind, problem.message, problem.line) == (
        "fields",
        "9 fields instead of 2; is the list in quotes?",
        5,
    )


def test_comma_at_the_end_of_a_row_is_named(changed: Rewrite) -> None:
    problem = only(look(changed(lambda lines: [*lines[:4], lines[4] + ",", *lines[5:]])))
    assert problem.message == "3 fields instead of 2; the row ends with a comma"


def test_integers_of_any_size_are_ids(tmp_path: Path) -> None:
    ids, vectors = np.array([2**64 - 1, 7], np.uint64), np.eye(2, dtype=np.float32)
    path = write_submission(tmp_path / "s.csv", ids, vectors).path
    assert validate_submission(path, ids, 2).valid
    assert validate_submission(path, [2**64 - 1, 7], 2).valid, "as a list, too"
    path.write_text(path.read_text().replace("\n7,", f"\n{10**29},"))
    assert validate_submission(path, ids, 2).error_kinds == {"extra": 1, "missing": 1}


@pytest.mark.parametrize("odd", [[1.0, 2.0], [None, 2], [True, False], [b"a", b"b"], [[1], [2]]])
def test_ids_of_other_kinds_are_refused(good_file: Path, odd: list[object]) -> None:
    with pytest.raises(SubmissionError, match="ids must be integers or texts, not"):
        validate_submission(good_file, odd, DIMENSION)
    with pytest.raises(SubmissionError, match="ids must be integers or texts, not"):
        write_submission(good_file, odd, np.eye(2, dtype=np.float32))


def test_missing_ids_are_each_counted(changed: Rewrite) -> None:
    report = look(changed(lambda lines: [*lines[:3], *lines[5:]]))
    assert [(problem.kind, problem.id) for problem in report.errors] == [("missing", "3"), ("missing", "4")]


def test_extra_id_is_named(changed: Rewrite) -> None:
    problem = only(look(changed(lambda lines: [*lines, '99,"[1,2,3,4,5,6,7,8]"'])))
    assert (problem.kind, problem.line, problem.id) == ("extra", 14, "99")


def test_duplicate_id_names_the_first_line(changed: Rewrite) -> None:
    problem = only(look(changed(lambda lines: [*lines, lines[2]])))
    assert (problem.kind, problem.message) == ("duplicate", "the id stood on line 3 already")


def test_ids_out_of_order_are_found_where_they_stand(changed: Rewrite) -> None:
    problem = only(look(changed(lambda lines: [*lines[:3], lines[4], lines[3], *lines[5:]])))
    assert (problem.kind, problem.line, problem.id) == ("order", 5, "3")


@pytest.mark.parametrize(
    ("cell", "message"), [("x", "not an integer"), ("1.0", "not an integer"), ("", "no id"), ("٣", "not an integer")]
)
def test_id_that_is_none_is_an_error(changed: Rewrite, cell: str, message: str) -> None:
    report = look(changed(lambda lines: [*lines[:3], cell + lines[3][1:], *lines[4:]]))
    assert report.error_kinds == {"id": 1, "missing": 1}
    assert report.errors[0].message == message


def test_all_rows_alike_are_an_error_and_not_many_warnings(tmp_path: Path, ids: np.ndarray) -> None:
    path = write_submission(tmp_path / "s.csv", ids, np.ones((ROWS, DIMENSION), np.float32)).path
    report = look(path)
    assert only(report).message == "all 12 rows hold the same vector"
    assert report.warning_count == 0


def test_identical_vectors_warn_unless_the_captions_are_the_same(
    tmp_path: Path, ids: np.ndarray, vectors: np.ndarray
) -> None:
    vectors[5] = vectors[1]
    path = write_submission(tmp_path / "s.csv", ids, vectors).path
    report = look(path)
    assert report.valid
    assert [(one.kind, one.line, one.id, one.message) for one in report.warnings] == [
        ("identical", 7, "6", "the same vector as id 2 on line 3")
    ]
    captions = [f"caption {i}" for i in range(ROWS)]
    captions[5] = captions[1]
    assert look(path, captions=captions).warning_count == 0
    with pytest.raises(SubmissionError, match="the same vector as id 2"):
        report.raise_for_errors(strict=True)


def test_wild_norms_warn(tmp_path: Path, ids: np.ndarray, vectors: np.ndarray) -> None:
    vectors[3] *= 1000
    vectors[7] /= 1000
    report = look(write_submission(tmp_path / "s.csv", ids, vectors).path)
    assert report.valid
    assert [(one.kind, one.id) for one in report.warnings] == [("norm", "4"), ("norm", "8")]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_utf16_is_one_clear_error(good_file: Path, encoding: str) -> None:
    good_file.write_bytes(good_file.read_text().encode(encoding))
    assert "UTF-16" in only(look(good_file)).message


def test_byte_order_mark_is_an_error_and_the_rows_are_still_read(good_file: Path) -> None:
    good_file.write_bytes(b"\xef\xbb\xbf" + good_file.read_bytes())
    report = look(good_file)
    assert "byte order mark" in only(report).message
    assert report.rows == ROWS


def test_bytes_that_are_not_utf8_are_named(good_file: Path) -> None:
    good_file.write_bytes(good_file.read_bytes().replace(b"\n2,", b"\n\xff,").replace(b'\n5,"[', b'\n5,"[\xe9'))
    report = look(good_file)
    assert report.error_kinds == {"encoding": 2, "missing": 1}
    assert "0xff" in report.errors[0].message
    assert "0xe9" in report.errors[1].message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the file is empty"),
        (b"\n\n", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html>", "HTML page"),
        (b"\x93NUMPY\x01\x00", "NumPy file"),
        (b"PAR1\x00", "Parquet"),
        (b"\x1f\x8b\x08\x00", "gz archive is damaged or cut off"),
        (b"PK\x03\x04rest", "zip archive is damaged or cut off"),
        (b"something\nelse\n", "columns are not known"),
    ],
)
def test_something_else_altogether_is_named(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "s.csv").write_bytes(content)
    assert words in look(tmp_path / "s.csv").errors[-1].message


def test_zip_and_gz_are_read_whatever_their_name(tmp_path: Path, good_file: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.csv", "w") as archive:
        archive.write(good_file, "submission.csv")
        archive.writestr("__MACOSX/._submission.csv", b"x")
    (tmp_path / "b.csv").write_bytes(gzip.compress(good_file.read_bytes()))
    assert (look(tmp_path / "a.csv").valid, look(tmp_path / "a.csv").container) == (True, "zip")
    assert (look(tmp_path / "b.csv").valid, look(tmp_path / "b.csv").container) == (True, "gz")


def test_damaged_archives_are_one_error_each(tmp_path: Path, good_file: Path) -> None:
    squeezed = gzip.compress(good_file.read_bytes())
    (tmp_path / "cut.gz").write_bytes(squeezed[:-20])
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.write(good_file, "a.csv")
        archive.write(good_file, "b.csv")
    with zipfile.ZipFile(tmp_path / "damaged.zip", "w") as archive:
        archive.write(good_file, "a.csv")
    content = bytearray((tmp_path / "damaged.zip").read_bytes())
    content[200] ^= 1
    (tmp_path / "damaged.zip").write_bytes(content)
    with zipfile.ZipFile(tmp_path / "book.xlsx", "w") as archive:
        archive.writestr("[Content_Types].xml", "")
    for name, words in [
        ("cut.gz", "damaged or cut off"),
        ("two.zip", "exactly one file, not 2"),
        ("damaged.zip", "damaged or cut off"),
        ("book.xlsx", "office document"),
    ]:
        report = look(tmp_path / name)
        assert words in report.errors[-1].message
        assert not report.valid


def test_problems_beyond_the_most_are_counted_and_each_kind_is_shown(changed: Rewrite) -> None:
    def break_it(lines: list[str]) -> list[str]:
        return [lines[0], *(f'{i},"[NaN]"' for i in range(1, 11)), '11,"[1]"', '12,"x"']

    report = look(changed(break_it), most=4)
    assert report.error_count == 12
    assert report.error_kinds == {"nan": 10, "dimension": 1, "list": 1}
    assert len(report.errors) == 4
    assert {problem.kind for problem in report.errors} == {"nan", "dimension", "list"}
    with pytest.raises(SubmissionError, match=r"12 problems\n  line 2, id 1, embedding: .*NaN"):
        report.raise_for_errors()


def test_open_quote_does_not_swallow_memory(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_bytes(b'id,embedding\n1,"[' + b"1," * 8_000_000)
    tracemalloc.start()
    report = look(tmp_path / "s.csv")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "quote left open" in only(report).message
    assert peak < 16_000_000


def test_text_ids_are_compared_as_they_stand(tmp_path: Path) -> None:
    columns = SubmissionFormat(id_column="key", embedding_column="vector")
    path = write_submission(tmp_path / "s.csv", ["b", "a,1"], np.eye(2, dtype=np.float32), columns).path
    assert validate_submission(path, ["b", "a,1"], 2, columns).valid
    assert validate_submission(path, ["a,1", "b"], 2, columns).error_kinds == {"order": 1}


def test_dimension_may_be_learnt_from_the_first_row(changed: Rewrite, ids: np.ndarray) -> None:
    path = changed(lambda lines: [*lines[:4], '4,"[1,2]"', *lines[5:]])
    report = validate_submission(path, ids, None)
    assert (report.dimension, only(report).message) == (8, "2 numbers instead of 8")


def test_file_that_is_not_there_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=r"no such file: .*nothing\.csv") as caught:
        look(tmp_path / "nothing.csv")
    assert caught.value.exit_code == 8
    with pytest.raises(UsageError, match="is a folder"):
        look(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="is no regular file"):
        look(tmp_path / "pipe")


def test_reading_an_invalid_file_raises(changed: Rewrite, ids: np.ndarray) -> None:
    path = changed(lambda lines: lines[:-1])
    with pytest.raises(SubmissionError, match="not a valid submission: 1 problem\n  id 12, id: no row of this id"):
        read_vectors(path, ids, DIMENSION)


def test_found_text_is_printable(changed: Rewrite) -> None:
    problem = only(look(changed(lambda lines: [*lines[:4], '4,"\x1b[31m\x07 [1"', *lines[5:]])))
    assert str(problem).isprintable()


def test_report_is_plain_data(changed: Rewrite) -> None:
    data = look(changed(lambda lines: lines[:-1])).to_dict()
    assert data["valid"] is False
    assert data["errors"][0]["kind"] == "missing"
    assert data["error_kinds"] == {"missing": 1}


def test_validating_imports_neither_torch_nor_pandas() -> None:
    code = "import sys, kaggle_kit.submission, kaggle_kit.archive; print([m for m in ('torch', 'pandas', 'kaggle') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
