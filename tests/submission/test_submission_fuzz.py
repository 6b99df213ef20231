"""Mutated files: the validator agrees with an independent judge made of csv, json and the rules written out."""

from __future__ import annotations

import csv
import io
import json
import random
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from kaggle_kit.errors import SubmissionError
from kaggle_kit.submission import read_vectors, validate_submission, write_submission
from kaggle_kit.submission.rows import read_records

IDS, DIMENSION = [1, 2, 3, 4, 5, 6], 5
TOKENS = (  # noqa: SIM905 - one string is easier to read here
    "NaN nan Infinity -inf null None true np.float32(1.5) 1e39 -1e39 3.4028235e38 3.4028236e38 3.4028235677973366e38 1e-50 "
    '0 -0 0.0 00 01 .5 5. +1 1_0 0x1 1e5 1E+5 1e 1e+ - -- [] [1] {} \'1\' "1" ""1"" \u0661 \u2026 ... 9223372036854775808 '
    "18446744073709551616 99999999999999999999999999 1e400 1e-400 0.1e1 1,2 1;2 (1)"
).split()
BLANKS = [" ", "\t", "\v", "\f", "\0", "\u00a0", "\u2028", "\ufeff", "\n", "\r\n", "\r", "\r\r"]
PIECES = [*TOKENS, *BLANKS, *'";,[]1-7\\é', "'", '""', ",,", "id"]


def judge(content: bytes) -> np.ndarray | None:
    """The vectors of a valid file, None for an invalid one: slow, plain and written apart from the validator."""
    try:
        text = content.decode("utf-8")
        rows = [row for row in csv.reader(io.StringIO(text, newline="")) if row]
    except (UnicodeDecodeError, csv.Error):
        return None
    if not rows or rows[0] != ["id", "embedding"] or any(len(row) != 2 for row in rows):
        return None
    found = [row[0].strip(" \t") for row in rows[1:]]
    if not all(re.fullmatch("[+-]?[0-9]+", one) for one in found) or [int(one) for one in found] != IDS:
        return None
    vectors = [judge_list(row[1]) for row in rows[1:]]
    if any(vector is None or not vector.any() for vector in vectors):
        return None
    matrix = np.stack(vectors)  # type: ignore[arg-type]
    return None if (matrix == matrix[0]).all() else matrix


def judge_list(cell: str) -> np.ndarray | None:
    try:
        numbers = json.loads(cell)
    except ValueError:
        return None
    if (
        not isinstance(numbers, list)
        or len(numbers) != DIMENSION
        or any(type(one) not in (int, float) for one in numbers)
    ):
        return None
    try:
        with np.errstate(over="ignore"):
            vector = np.array([float(one) for one in numbers]).astype(np.float32)
    except OverflowError:
        return None
    return vector if np.isfinite(vector).all() else None


def base_files() -> list[str]:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((len(IDS), DIMENSION)).astype(np.float32)
    ours = "".join(
        f'{i},"{json.dumps([float(str(x)) for x in row], separators=(",", ":"))}"\n'
        for i, row in zip(IDS, vectors, strict=True)
    )
    pandas = "".join(f'{i},"{row.astype(float).tolist()}"\n' for i, row in zip(IDS, vectors, strict=True))
    quoted = "".join(
        f'"{i}","[ {", ".join(str(int(x * 10)) for x in row)} ]"\r\n' for i, row in zip(IDS, vectors, strict=True)
    )
    return ["id,embedding\n" + ours, "id,embedding\n" + pandas, '"id","embedding"\r\n' + quoted]


def insert(text: str, dice: random.Random) -> str:
    place = dice.randrange(len(text) + 1)
    return text[:place] + dice.choice(PIECES) + text[place:]


def delete(text: str, dice: random.Random) -> str:
    place = dice.randrange(len(text))
    return text[:place] + text[place + dice.choice([1, 1, 1, 2, 5, 40]) :]


def replace_number(text: str, dice: random.Random) -> str:
    number = dice.choice(list(re.finditer(r"(?<=[\[, ])-?[0-9][0-9.e-]*(?=[\],])", text)) or [re.match("", text)])
    return text[: number.start()] + dice.choice(TOKENS) + text[number.end() :]


def widen_blanks(text: str, dice: random.Random) -> str:
    blank = dice.choice([" ", "  ", "\t", "\n", "\r\n", "\r", "\n\n"])
    sign = dice.choice([",", "[", "]"])
    head, body = text[:15], text[15:]
    return head + re.sub(
        rf"(?<=[\[\]0-9]){re.escape(sign)}|{re.escape(sign)}(?=[\[\]0-9-])",
        lambda match: blank + match[0],
        body,
        count=dice.choice([0, 1]),
    )


def change_lines(text: str, dice: random.Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    one, other = dice.randrange(len(lines)), dice.randrange(len(lines))
    action = dice.choice(["swap", "double", "drop", "blank", "copy list"])
    if action == "swap":
        lines[one], lines[other] = lines[other], lines[one]
    elif action == "double":
        lines.insert(other, lines[one])
    elif action == "drop":
        del lines[one]
    elif action == "blank":
        lines.insert(one, dice.choice(["\n", "\r\n", " \n", '""\n', ",\n"]))
    else:
        parts = lines[one].split(",", 1)
        lines = [",".join([line.split(",", 1)[0], parts[-1]]) if i else line for i, line in enumerate(lines)]
    return "".join(lines)


def change_all(text: str, dice: random.Random) -> str:
    changes: list[Callable[[str], str]] = [
        lambda t: t.replace("\n", "\r\n"),
        lambda t: t.replace("\n", "\r"),
        lambda t: t.rstrip(),
        lambda t: t + "\n\n",
        lambda t: t[: dice.randrange(len(t) + 1)],
        lambda t: t.replace('"', ""),
        lambda t: t.replace('"', "'"),
        lambda t: t.replace('"[', "[").replace(']"', "]"),
        lambda t: t.replace(']"', '"]'),
        lambda t: t.replace(", ", " "),
        lambda t: t.replace("id", dice.choice(["ID", "id ", " id", "ids", '"id"', "ïd"]), 1),
        lambda t: t.replace(
            "embedding", dice.choice(["embeddings", "Embedding", '"embedding"', '"embed"ding', "embedding,"]), 1
        ),
        lambda t: "\ufeff" + t,
        lambda t: re.sub(r"(?m)^(\"?)([0-9])", rf"\g<1>{dice.choice([' ', '0', '+', '-', 'x', chr(9)])}\2", t),
    ]
    return dice.choice(changes)(text)


def change_bytes(content: bytes, dice: random.Random) -> bytes:
    place = dice.randrange(len(content) + 1)
    return content[:place] + bytes([dice.randrange(256)]) + content[place + dice.choice([0, 1]) :]


def mutations(count: int, seed: int) -> Iterator[bytes]:
    bases, changes = (
        base_files(),
        [insert, delete, replace_number, replace_number, widen_blanks, change_lines, change_all],
    )
    for number in range(count):
        dice = random.Random(f"{seed}-{number}")
        text = dice.choice(bases)
        for _ in range(dice.choice([0, 1, 1, 1, 2, 3])):
            text = dice.choice(changes)(text or " ", dice)
        content = text.encode()
        yield change_bytes(content, dice) if dice.random() < 0.15 else content


def compare(path: Path, count: int, seed: int) -> tuple[int, int]:
    """Judge ``count`` mutations both ways; returns how many were valid and invalid."""
    valid = 0
    for number, content in enumerate(mutations(count, seed)):
        path.write_bytes(content)
        expected = judge(content)
        report = validate_submission(path, IDS, DIMENSION)
        assert report.valid == (expected is not None), (number, content, report.errors)
        if expected is not None:
            assert (read_vectors(path, IDS, DIMENSION) == expected).all(), (number, content)
            valid += 1
        else:
            assert report.errors, (number, content)
            assert all(str(problem).isprintable() for problem in report.errors), (number, content)
    return valid, count - valid


def test_mutated_files_are_judged_as_csv_and_json_judge_them(tmp_path: Path) -> None:
    valid, invalid = compare(tmp_path / "s.csv", 300, seed=1)
    assert valid > 50
    assert invalid > 100


@pytest.mark.long
def test_ten_thousand_mutated_files_are_judged_rightly(tmp_path: Path) -> None:
    valid, invalid = compare(tmp_path / "s.csv", 10_000, seed=2)
    print(f"{valid} valid, {invalid} invalid, no disagreement")
    assert valid > 1500
    assert invalid > 3000


def test_judge_itself_knows_good_from_bad() -> None:
    for text in base_files():
        assert judge(text.encode()) is not None
        assert judge(text.replace("embedding", "embeddings").encode()) is None
        assert judge(text.replace("[", "[1, ", 1).encode()) is None


def archives(tmp_path: Path) -> list[bytes]:
    vectors = np.random.default_rng(0).standard_normal((len(IDS), DIMENSION)).astype(np.float32)
    found = [write_submission(tmp_path / name, IDS, vectors).path.read_bytes() for name in ("a.zip", "a.gz")]
    for method in (zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", method) as archive:
            archive.writestr("s.csv", base_files()[0])
        found.append(packed.getvalue())
    return found


def test_damaged_archives_never_crash_nor_pass_for_something_else(tmp_path: Path) -> None:
    bases, path, expected = archives(tmp_path), tmp_path / "s.bin", judge(base_files()[0].encode())
    for number in range(300):
        dice = random.Random(number)
        content = dice.choice(bases)
        for _ in range(dice.choice([1, 1, 2, 4])):
            content = change_bytes(content, dice)
        path.write_bytes(content)
        report = validate_submission(path, IDS, DIMENSION)
        assert report.valid or report.errors, number
        if report.valid:  # the change hit a date or a name: the CSV's checksum still holds
            assert (read_vectors(path, IDS, DIMENSION) == expected).all(), number


class Trickle(io.RawIOBase):
    """A stream that gives a few bytes at a time, whatever it is asked for."""

    def __init__(self, content: bytes, dice: random.Random) -> None:
        self._content, self._dice, self._place = content, dice, 0

    def read(self, size: int = -1) -> bytes:
        start, self._place = self._place, self._place + self._dice.randrange(1, 9)
        return self._content[start : self._place]


def test_records_are_those_of_csv_wherever_the_blocks_end() -> None:
    for number, content in enumerate(mutations(150, seed=3)):
        try:
            rows = [row for row in csv.reader(io.StringIO(content.decode(), newline="")) if row]
        except UnicodeDecodeError:
            continue
        records = list(read_records(Trickle(content, random.Random(number)), longest=1 << 20))  # type: ignore[arg-type]
        assert [[field.decode() for field in record.fields] for record in records] == rows, (number, content)


def test_unreadable_ids_to_compare_with_are_refused(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text(base_files()[0])
    with pytest.raises(SubmissionError, match="must be different ones"):
        validate_submission(tmp_path / "s.csv", [1, 1], DIMENSION)
