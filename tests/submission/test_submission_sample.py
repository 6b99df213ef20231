"""Any CSV competition's submission, held against its sample file."""

from __future__ import annotations

from pathlib import Path

import pytest

from kaggle_kit.errors import MissingError, SubmissionError
from kaggle_kit.submission import ValidationReport, content_sha256, learn_format, validate_against

SAMPLE = "id,label,probability,count,vector\n" + "".join(
    f'{name},{label},0.{i}5,{i + 3},"[{i}, 1.5]"\n'
    for i, (name, label) in enumerate([("a", "cat"), ("b", "dog"), ("c", "cat"), ("d", "dog")])
)


@pytest.fixture
def sample(tmp_path: Path) -> Path:
    path = tmp_path / "sample.csv"
    path.write_text(SAMPLE)
    return path


def look(tmp_path: Path, sample: Path, old: str, new: str) -> ValidationReport:
    assert old in SAMPLE
    (tmp_path / "s.csv").write_text(SAMPLE.replace(old, new, 1))
    return validate_against(tmp_path / "s.csv", sample)


def test_sample_tells_columns_types_and_ranges(sample: Path) -> None:
    learnt = learn_format(sample)
    assert [column.kind for column in learnt.columns] == ["text", "text", "number", "integer", "list"]
    assert learnt.ids == ("a", "b", "c", "d")
    assert (learnt.columns[2].low, learnt.columns[2].high) == (0.0, 1.0)
    assert (learnt.columns[3].low, learnt.columns[3].high) == (3.0, 6.0)
    assert learnt.columns[1].choices == {"cat", "dog"}
    assert learnt.columns[4].dimension == 2


def test_sample_itself_is_valid(tmp_path: Path, sample: Path) -> None:
    report = validate_against(sample, sample)
    assert (report.error_count, report.warning_count, report.rows) == (0, 0, 4)


@pytest.mark.parametrize(
    ("old", "new", "kind", "column"),
    [
        ("probability", "probabilities", "header", "probability"),
        ("id,label", "label,id", "header", None),
        ("b,dog", "b,", "null", "label"),
        ("0.15", "high", "number", "probability"),
        ("0.15", "nan", "nan", "probability"),
        ("0.15", "-inf", "infinity", "probability"),
        ("0.15", "0_1", "number", "probability"),
        ("0.15", "٠.١", "number", "probability"),
        ("[1, 1.5]", "[1]", "dimension", "vector"),
        ("[1, 1.5]", "[1, null]", "null", "vector"),
        ('"[1, 1.5]"', "[1, 1.5]", "fields", None),
        ("b,dog", "e,dog", "extra", "id"),
        ("b,dog", "a,dog", "duplicate", "id"),
    ],
)
def test_what_the_sample_rules_out_is_an_error(
    tmp_path: Path, sample: Path, old: str, new: str, kind: str, column: str | None
) -> None:
    report = look(tmp_path, sample, old, new)
    assert not report.valid
    assert (report.errors[0].kind, report.errors[0].column) == (kind, column)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [("b,dog", "b,cow", "choice"), ("0.15", "1.5", "range"), (",4,", ",4.5,", "type"), (",4,", ",99,", "range")],
)
def test_what_a_sample_cannot_settle_is_a_warning(tmp_path: Path, sample: Path, old: str, new: str, kind: str) -> None:
    report = look(tmp_path, sample, old, new)
    assert report.valid, report.errors
    assert report.warning_kinds == {kind: 1}


def test_missing_and_swapped_rows_are_found(tmp_path: Path, sample: Path) -> None:
    lines = SAMPLE.splitlines(keepends=True)
    (tmp_path / "s.csv").write_text("".join([lines[0], lines[2], lines[1], lines[3]]))
    assert validate_against(tmp_path / "s.csv", sample).error_kinds == {"order": 1, "missing": 1}


def test_placeholders_of_a_sample_set_no_range(tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text("PassengerId,Survived\n892,0\n893,0\n")
    (tmp_path / "s.csv").write_text("PassengerId,Survived\n892,1\n893,0\n")
    report = validate_against(tmp_path / "s.csv", tmp_path / "sample.csv")
    assert (report.error_count, report.warning_count) == (0, 0)


def test_ids_are_the_column_called_id_even_when_it_is_not_first(tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text("price,house_id\n1,7\n2,8\n")
    assert learn_format(tmp_path / "sample.csv").ids == ("7", "8")


def test_a_sample_with_a_byte_order_mark_and_a_quoted_header_is_read(tmp_path: Path) -> None:
    (tmp_path / "sample.csv").write_text('\ufeff"house,id","price"\n7,0.5\n8,0.5\n', encoding="utf-8")
    (tmp_path / "s.csv").write_text('"house,id",price\n7,1\n8,2\n')
    assert validate_against(tmp_path / "s.csv", tmp_path / "sample.csv").error_count == 0
    assert validate_against(tmp_path / "sample.csv", tmp_path / "sample.csv").error_kinds == {"encoding": 1}


@pytest.mark.parametrize("odd", ["nan", "inf", "1e999"])
def test_numbers_of_a_sample_that_are_not_finite_set_no_range(tmp_path: Path, odd: str) -> None:
    (tmp_path / "sample.csv").write_text(f"id,price\n1,{odd}\n2,3\n3,5\n")
    column = learn_format(tmp_path / "sample.csv").columns[1]
    assert (column.kind, column.low, column.high) == ("number", 3.0, 5.0)


def test_the_hash_of_the_content_does_not_depend_on_how_numbers_are_written(tmp_path: Path, sample: Path) -> None:
    known, other = learn_format(sample), tmp_path / "s.csv"
    other.write_text(SAMPLE.replace("[0, 1.5]", "[-0.0,15e-1]").replace(",0.15,", ",1.5e-1,"))
    assert other.read_text() != SAMPLE
    assert content_sha256(other, known) == content_sha256(sample, known)
    other.write_text(SAMPLE.replace("[0, 1.5]", "[0, 1.50000000001]"))
    assert content_sha256(other, known) != content_sha256(sample, known)


def test_broken_samples_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match="no such file"):
        learn_format(tmp_path / "none.csv")
    (tmp_path / "sample.csv").write_text("a,b\n1,1\n1,1\n")
    with pytest.raises(SubmissionError, match="no column of different values"):
        learn_format(tmp_path / "sample.csv")
    (tmp_path / "sample.csv").write_text("a,b\n1\n")
    with pytest.raises(SubmissionError, match="needs a header and rows of 2 fields"):
        learn_format(tmp_path / "sample.csv")
