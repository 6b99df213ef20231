"""The captions as lines of ``id,caption``.

The competition's own file is malformed as CSV: 134 of its lines open a triple quote that is never closed, and a CSV
reader swallows what follows, returning 650 of 1,500 rows. Lines are the only thing in it that can be trusted, so
lines are split, each on its first comma.
"""

from __future__ import annotations

import csv
import re
from contextlib import suppress
from pathlib import Path

from kaggle_kit.errors import DataError, MissingError

_ID = re.compile(r"-?[0-9]{1,19}")


def read_captions(path: Path) -> dict[int, str]:
    """The caption of each id.

    A first line without a number before its comma is taken for the header; blank lines are skipped; quotes that wrap
    a caption are dropped, whether or not they close.

    Raises:
        MissingError: no such file.
        DataError: a line without a number before its first comma, an id twice, not UTF-8, or no caption at all.
    """
    captions: dict[int, str] = {}
    for number, line in enumerate(_lines(path), start=1):
        head, comma, caption = line.partition(",")
        if not line.strip():
            continue
        if not comma or not _ID.fullmatch(head.strip()):
            if number == 1:
                continue
            raise DataError(
                f"{path}: line {number} does not start with an id and a comma: {line[:60]!r}", "expected: 17,A dog runs"
            )
        if int(head) in captions:
            raise DataError(f"{path}: line {number} repeats id {int(head)}", "each id has one caption")
        captions[int(head)] = unquote(caption)
    if not captions:
        raise DataError(f"{path} holds no captions", "expected lines such as: 17,A dog runs")
    return captions


def unquote(caption: str) -> str:
    """A caption without the quotes that wrap it, closed or not; quotes inside are kept.

    >>> unquote('"A dog, a ""boxer"", barks"'), unquote('\"\"\"A dog barks'), unquote('"Sit" says a man')
    ('A dog, a "boxer", barks', 'A dog barks', '"Sit" says a man')
    """
    text = caption.strip()
    if not text.startswith('"'):
        return text
    with suppress(csv.Error):
        fields = next(csv.reader([text], strict=True))
        return fields[0].strip() if len(fields) == 1 else text
    never_closed = text.count('"') % 2 == 1 or text.startswith('"""')
    return text.strip('"').replace('""', '"').strip() if never_closed else text


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except FileNotFoundError:
        raise MissingError(f"no such file: {path}", "kk fetch downloads the competition's files") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "fetch it again") from None
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})", "fetch it again") from None
