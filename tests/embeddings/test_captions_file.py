"""The captions file is read line by line, whatever its quotes do."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from kaggle_kit.embeddings import read_captions
from kaggle_kit.errors import DataError, MissingError


def _file(tmp_path: Path, content: str) -> Path:
    path = tmp_path / "captions.txt"
    path.write_text(content, encoding="utf-8")
    return path


def test_triple_quotes_that_never_close_swallow_no_rows(tmp_path: Path) -> None:
    lines = [f'{n},"""A dog, number {n}' if n % 11 == 0 else f"{n},A cat, number {n}" for n in range(1, 1501)]
    path = _file(tmp_path, "id,caption\n" + "\n".join(lines) + "\n")
    with open(path, newline="") as file:
        assert sum(1 for _ in csv.reader(file)) < 1501  # what a CSV reader makes of it
    captions = read_captions(path)
    assert list(captions) == list(range(1, 1501))
    assert captions[11] == "A dog, number 11"
    assert captions[12] == "A cat, number 12"


@pytest.mark.parametrize(
    ("written", "caption"),
    [
        ("a dog", "a dog"),
        ("a dog, a cat , a bird .", "a dog, a cat , a bird ."),
        ('"a dog, running"', "a dog, running"),
        ('"a ""big"" dog"', 'a "big" dog'),
        ('"""Go!"" it says"', '"Go!" it says'),
        ('"""a dog', "a dog"),
        ('"a dog', "a dog"),
        ('"""a ""big"" dog', 'a "big" dog'),
        ('"Sit" says a man', '"Sit" says a man'),
        ('"Sit", says a man', '"Sit", says a man'),
        ('a "big" dog', 'a "big" dog'),
        ("", ""),
        ('"', ""),
        ("ein süßer Hund\u2028läuft", "ein süßer Hund\u2028läuft"),
    ],
)
def test_quotes_that_wrap_a_caption_are_dropped_and_others_kept(tmp_path: Path, written: str, caption: str) -> None:
    assert read_captions(_file(tmp_path, f"7,{written}\r\n\n8,x")) == {7: caption, 8: "x"}


def test_a_byte_order_mark_and_a_missing_header_are_no_problem(tmp_path: Path) -> None:
    assert read_captions(_file(tmp_path, "\ufeff1,a\n2,b\n")) == {1: "a", 2: "b"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("id,caption\n1,a\nno comma here\n", r"line 3 does not start with an id and a comma: 'no comma here'"),
        ("id,caption\n1,a\nx,b\n", r"line 3 does not start with an id"),
        ("1,a\n1,b\n", r"line 2 repeats id 1"),
        ("id,caption\n", r"holds no captions"),
        ("", r"holds no captions"),
    ],
)
def test_lines_that_cannot_be_right_are_named(tmp_path: Path, content: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        read_captions(_file(tmp_path, content))


def test_a_file_that_is_no_text_or_not_there_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "captions.txt").write_bytes(b"1,caf\xe9\n")
    with pytest.raises(DataError, match=r"is not UTF-8 text"):
        read_captions(tmp_path / "captions.txt")
    with pytest.raises(MissingError, match=r"no such file"):
        read_captions(tmp_path / "other.txt")


@pytest.mark.parametrize("line", ["--5,x", "-,x", "1" * 5000 + ",x", "٣,x"])
def test_what_is_no_id_is_told_by_its_line(tmp_path, line):
    path = tmp_path / "captions.txt"
    path.write_text(f"1,a dog\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2 does not start with an id"):
        read_captions(path)


def test_folder_in_place_of_the_captions_is_told(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_captions(tmp_path)
