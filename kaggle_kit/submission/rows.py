"""Records of a CSV as bytes, from a stream of any length with a block of it in memory.

Reads what Python's ``csv`` module reads, the same way: fields in quotes or not, doubled quotes, line breaks inside quotes, LF, CRLF or CR.
The rows that our own writer and pandas make are cut out with three searches each; everything else goes through the slow, complete cutter.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from kaggle_kit.submission.containers import BLOCK_BYTES, BrokenFile

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_FIELD_END = re.compile(rb"[,\r\n]")
_BLANKS = re.compile(rb"[\r\n]*")
_BREAK = re.compile(rb"[\r\n]")


@dataclass(frozen=True)
class Record:
    """One record: its fields without their quotes, and the line of the file that it starts on."""

    line: int
    fields: list[bytes]


class _NeedMore(Exception):
    """The buffer ends inside a record."""


def read_records(stream: IO[bytes], *, longest: int) -> Iterator[Record]:
    """The records of a CSV; empty lines are passed over, a byte order mark stays at the first field.

    Args:
        stream: the content.
        longest: bytes that a record may have; it bounds the memory.

    Raises:
        BrokenFile: a record is longer than that (as when a quote is never closed).
    """
    buffer = stream.read(BLOCK_BYTES)
    mark = BYTE_ORDER_MARK if buffer.startswith(BYTE_ORDER_MARK) else b""
    position, line, final = len(mark), 1, not buffer
    while True:
        try:
            fields, end = cut_record(buffer, position, final=final)
        except _NeedMore:
            if len(buffer) - position > longest:
                raise BrokenFile(
                    "fields", f"line {line} starts a record of more than {longest:,} bytes: is a quote left open?"
                ) from None
            block = stream.read(max(BLOCK_BYTES, len(buffer) - position))
            buffer, position, final = buffer[position:] + block, 0, not block
            continue
        if not fields:
            return
        if fields != [b""] or buffer[position : position + 1] == b'"':
            fields[0], mark = mark + fields[0], b""
            yield Record(line, fields)
        else:
            end = _end_of_blanks(buffer, end)
        line += _lines(buffer, position, end)
        position = end


def _end_of_blanks(buffer: bytes, position: int) -> int:
    """Where a run of empty lines ends, so that millions of them cost one step."""
    end = _BLANKS.match(buffer, position).end()  # type: ignore[union-attr]
    return end - (position < end == len(buffer) and buffer.endswith(b"\r"))  # its line feed may be in the next block


def _lines(buffer: bytes, start: int, end: int) -> int:
    carriage_returns = buffer.count(b"\r", start, end)
    if not carriage_returns:
        return buffer.count(b"\n", start, end)
    return buffer.count(b"\n", start, end) + carriage_returns - buffer.count(b"\r\n", start, end)


def cut_record(buffer: bytes, position: int, *, final: bool) -> tuple[list[bytes], int]:
    """The record at ``position`` and where the next one starts; no fields at the end of the content.

    ``final`` says that nothing follows the buffer.
    """
    return _cut_plain(buffer, position) or _cut_any(buffer, position, final=final)


def _cut_plain(buffer: bytes, position: int) -> tuple[list[bytes], int] | None:
    """The record if it is ``word,"…"`` and a line break, without a quote inside; None otherwise."""
    comma = buffer.find(b',"', position, position + 64)
    close = buffer.find(b'"', comma + 2) if comma >= 0 else -1
    if close < 0 or _BREAK.search(buffer, position, comma) or buffer.find(b'"', position, comma) >= 0:
        return None
    if buffer.find(b",", position, comma) >= 0:
        return None
    end = close + 2 if buffer[close + 1 : close + 2] == b"\n" else close + 3
    if buffer[close + 1 : end] not in (b"\n", b"\r\n"):
        return None
    return [buffer[position:comma], buffer[comma + 2 : close]], end


def _cut_any(buffer: bytes, position: int, *, final: bool) -> tuple[list[bytes], int]:
    if position >= len(buffer):
        if not final:
            raise _NeedMore
        return [], position
    fields = []
    while True:
        field, position = _cut_field(buffer, position, final=final)
        fields.append(field)
        delimiter = buffer[position : position + 1]
        position += 1
        if delimiter == b",":
            continue
        if delimiter == b"\r":
            if position >= len(buffer) and not final:
                raise _NeedMore
            position += buffer[position : position + 1] == b"\n"
        return fields, min(position, len(buffer))


def _cut_field(buffer: bytes, position: int, *, final: bool) -> tuple[bytes, int]:
    """The field at ``position`` and where it ends: at a comma, a line break or the end of the content."""
    parts = []
    if buffer[position : position + 1] == b'"':
        quoted, position = _cut_quoted(buffer, position + 1, final=final)
        parts.append(quoted)
    match = _FIELD_END.search(buffer, position)
    if not match and not final:
        raise _NeedMore
    end = match.start() if match else len(buffer)
    return b"".join([*parts, buffer[position:end]]), end  # what follows a closing quote belongs to the field, as in csv


def _cut_quoted(buffer: bytes, position: int, *, final: bool) -> tuple[bytes, int]:
    """The text up to the closing quote, and where that quote ends; an open quote runs to the end of the content."""
    start = position
    while True:
        quote = buffer.find(b'"', position)
        if quote < 0 or (quote + 1 == len(buffer) and not final):
            if not final:
                raise _NeedMore
            return buffer[start:].replace(b'""', b'"'), len(buffer)
        if buffer[quote + 1 : quote + 2] != b'"':
            return buffer[start:quote].replace(b'""', b'"'), quote + 1
        position = quote + 2
