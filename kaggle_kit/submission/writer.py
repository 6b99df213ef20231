"""The one writer of submission files.

A row is ``id,"[x,x,…]"``: each number is the shortest decimal that reads back as the same float32. The bytes depend on the ids, the vectors
and the writing format alone, so a file that was thrown away can be written again with the same SHA-256.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import orjson

from kaggle_kit.competition import SubmissionFormat
from kaggle_kit.errors import SubmissionError, UsageError
from kaggle_kit.files import atomic_writer
from kaggle_kit.submission.ids import listed_ids

FORMAT_ID = "kk-csv-1"
"""Name of the bytes that this writer produces; a change of the bytes needs a new name."""

DEFAULT_COLUMNS = SubmissionFormat()
ROWS_A_BLOCK = 64
COMPRESSIONS = ("zip", "gz")
COMPRESSION_LEVEL = 1
"""Of zlib: a tenth larger than the usual 6, and done in a seventh of the time."""
_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_POWERS = np.array([float(f"1e{exponent}") for exponent in range(-46, 40)])  # literals are exact, 10.0**n is not


@dataclass(frozen=True)
class WritingFormat:
    """Everything but ids and vectors that decides the bytes of a file."""

    digits: int | None = None
    """Significant digits kept, 1 to 9; None: the shortest decimals that are exact in float32."""
    compress: str | None = None
    """``"zip"``, ``"gz"`` or None for the plain CSV."""

    def __post_init__(self) -> None:
        if self.digits is not None and not 1 <= self.digits <= 9:
            raise UsageError(f"digits must be from 1 to 9, not {self.digits}")
        if self.compress is not None and self.compress not in COMPRESSIONS:
            raise UsageError(f"compress must be one of {', '.join(COMPRESSIONS)}, not {self.compress!r}")

    @property
    def id(self) -> str:
        """The format's name as records keep it, such as ``kk-csv-1`` or ``kk-csv-1+digits4+zip``."""
        digits = f"+digits{self.digits}" if self.digits else ""
        return FORMAT_ID + digits + (f"+{self.compress}" if self.compress else "")

    @staticmethod
    def from_id(text: str) -> WritingFormat | None:
        """The format of that name; None when this writer does not produce it."""
        match = re.fullmatch(re.escape(FORMAT_ID) + r"(?:\+digits([1-9]))?(?:\+(zip|gz))?", text)
        return WritingFormat(int(match[1]) if match[1] else None, match[2]) if match else None


@dataclass(frozen=True)
class WrittenFile:
    """A submission file that was written.

    ``sha256`` is of the file, ``content_sha256`` of the CSV in it (the same unless compressed); ``size`` in bytes.
    """

    path: Path
    sha256: str
    size: int
    format_id: str
    content_sha256: str
    rows: int
    dimension: int

    def to_dict(self) -> dict[str, Any]:
        """What a submission's record keeps about its file."""
        return {
            "name": self.path.name,
            "sha256": self.sha256,
            "size": self.size,
            "format": self.format_id,
            "content_sha256": self.content_sha256,
        }


class _HashingFile(io.RawIOBase):
    """Passes bytes on to ``file`` and remembers their hash and number."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.hash, self.size = file, hashlib.sha256(), 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.hash.update(data)
        self.size += len(data)
        self.file.write(data)
        return len(data)


def write_submission(
    path: Path,
    ids: Sequence[Any] | np.ndarray,
    vectors: np.ndarray,
    fmt: SubmissionFormat = DEFAULT_COLUMNS,
    *,
    digits: int | None = None,
    compress: str | None = None,
    member: str | None = None,
) -> WrittenFile:
    """Write a submission file atomically, the same bytes for the same input every time.

    Args:
        path: the file to write; a name in ``.zip`` or ``.gz`` asks for that compression.
        ids: (n,) integers or texts, in the order of the test file.
        vectors: (n, d) float32.
        fmt: the columns' names.
        digits: significant digits to keep, 1 to 9; None: shortest exact float32 decimals.
        compress: ``"zip"`` or ``"gz"``; None: as the name says.
        member: name of the CSV inside a zip; None: the file's own.

    Raises:
        SubmissionError: shapes that do not fit, no rows, a value that is not finite, an id twice.
        UsageError: ``digits`` or ``compress`` out of range, or a folder that cannot be written to.
        DiskFullError: no space left.
    """
    writing = WritingFormat(digits, compress or _compression_of(path))
    ids = _checked_ids(ids)
    vectors = _checked_vectors(vectors, len(ids))
    with ExitStack() as stack:
        outer = _HashingFile(stack.enter_context(atomic_writer(path)))
        content = outer
        if writing.compress:
            content = _HashingFile(
                stack.enter_context(_compressor(outer, member or member_name(path.name), writing.compress))
            )
        content.write(_line([fmt.id_column, fmt.embedding_column]))
        for block in _blocks(ids, vectors, writing.digits):
            content.write(block)
    return WrittenFile(path, outer.hash.hexdigest(), outer.size, writing.id, content.hash.hexdigest(), *vectors.shape)


def round_digits(vectors: np.ndarray, digits: int | None) -> np.ndarray:
    """What a reader gets back from a file with ``digits`` significant digits: (n, d) float32 to (n, d) float32.

    The nearest float32 to a decimal of up to 9 digits prints as that decimal or a shorter one, so that writing the result with
    shortest decimals is writing ``vectors`` with ``digits``.
    """
    if digits is None:
        return vectors
    values = vectors.astype(np.float64)
    magnitude = np.abs(values)
    # index of the power of ten just below; a table of exact powers rather than log10, so that every machine rounds alike
    exponent = np.clip(np.searchsorted(_POWERS, magnitude, side="right") - 1, 0, None) - 46
    shift = digits - 1 - exponent
    up = _POWERS[np.clip(shift, 0, 39) + 46] * _POWERS[np.clip(shift - 39, 0, 39) + 46]
    down = _POWERS[np.clip(-shift, 0, 39) + 46]
    with np.errstate(over="ignore"):
        rounded = (np.rint(values * up / down) * down / up).astype(np.float32)
    return np.where(
        np.isfinite(rounded), rounded, vectors
    )  # the largest float32 values round up to infinity: left alone


def _compression_of(path: Path) -> str | None:
    return path.suffix[1:] if path.suffix[1:] in COMPRESSIONS else None


def _checked_ids(ids: Sequence[Any] | np.ndarray) -> list[Any]:
    listed = listed_ids(ids)
    if not listed:
        raise SubmissionError("a submission needs at least one row; there are no ids")
    if len(set(listed)) != len(listed):
        twice = Counter(listed).most_common(1)[0][0]
        raise SubmissionError(f"id {twice!r} is given twice")
    return listed


def _checked_vectors(vectors: np.ndarray, rows: int) -> np.ndarray:
    vectors = np.asarray(vectors)
    if vectors.ndim != 2 or vectors.shape[0] != rows or vectors.shape[1] == 0:
        raise SubmissionError(f"{rows} ids need vectors of shape ({rows}, d), not {vectors.shape}")
    if vectors.dtype != np.float32:
        raise SubmissionError(f"vectors must be float32, not {vectors.dtype}", "convert with vectors.astype('float32')")
    return vectors


def _blocks(ids: list[Any], vectors: np.ndarray, digits: int | None) -> Iterator[bytes]:
    """The rows as bytes, some rows at a time: memory stays at one block whatever the size of the file."""
    for start in range(0, len(ids), ROWS_A_BLOCK):
        block = np.ascontiguousarray(vectors[start : start + ROWS_A_BLOCK])
        if not np.isfinite(block).all():
            row, column = np.argwhere(~np.isfinite(block))[0]
            raise SubmissionError(
                f"row {start + row + 1} (id {ids[start + row]}): number {column + 1} is {block[row, column]}, not finite"
            )
        block = round_digits(block, digits)
        yield b"".join(map(_row, ids[start : start + ROWS_A_BLOCK], block))


def _row(row_id: Any, vector: np.ndarray) -> bytes:
    numbers = orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)
    if isinstance(row_id, int):
        return b'%d,"%b"\n' % (row_id, numbers)
    return b'%b,"%b"\n' % (_line([str(row_id)])[:-1], numbers)


def _line(fields: list[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(fields)
    return text.getvalue().encode()


def member_name(name: str) -> str:
    """What the CSV in a zip is called: ``submission.csv`` in ``submission.csv.zip`` and ``submission.zip`` alike."""
    return name.removesuffix(".zip").removesuffix(".csv") + ".csv"


def _compressor(target: IO[bytes] | io.RawIOBase, member: str, compress: str) -> Any:
    """A stream into ``target``, free of names and times that would make equal content differ."""
    if compress == "gz":
        return gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0, compresslevel=COMPRESSION_LEVEL)  # type: ignore[arg-type]
    return _ZipMember(target, member)


class _ZipMember:
    """The only member of a new zip, as a context that gives a stream."""

    def __init__(self, target: Any, name: str) -> None:
        self._target, self._name, self._stack = target, name, ExitStack()

    def __enter__(self) -> IO[bytes]:
        archive = self._stack.enter_context(zipfile.ZipFile(self._target, "w"))
        member = zipfile.ZipInfo(self._name, _ZIP_DATE)
        member.compress_type = zipfile.ZIP_DEFLATED
        member._compresslevel = COMPRESSION_LEVEL  # type: ignore[attr-defined]  # compress_level from Python 3.13 on, this name in all
        member.create_system, member.external_attr = 3, 0o644 << 16
        return self._stack.enter_context(archive.open(member, "w", force_zip64=True))

    def __exit__(self, *exception: Any) -> bool | None:
        return self._stack.__exit__(*exception)
