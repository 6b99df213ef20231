"""The bytes of a CSV, whether it lies there plainly or in a zip or gz: read as a stream, never unpacked to disk."""

from __future__ import annotations

import gzip
import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

from kaggle_kit.errors import MissingError, UsageError

BLOCK_BYTES = 1 << 20


class BrokenFile(Exception):
    """The file cannot be read as a CSV at all; ``kind`` and the message go into the report."""

    def __init__(self, kind: str, message: str, found: str | None = None) -> None:
        super().__init__(message)
        self.kind, self.message, self.found = kind, message, found


def require_file(path: Path) -> None:
    """Make sure that ``path`` is a file.

    Raises:
        MissingError: there is nothing of that name.
        UsageError: it is a folder, a pipe, or may not be read.
    """
    if path.is_dir():
        inside = sorted(one.name for one in path.glob("*submission*") if one.is_file())
        hint = f"did you mean {path / inside[0]}?" if inside else "name the file in it"
        raise UsageError(f"{path} is a folder, not a submission file", hint)
    if not path.exists():
        raise MissingError(f"no such file: {path}", "kk predict -o submission.csv writes one")
    if not path.is_file():  # a pipe: it could be read once only
        raise UsageError(f"{path} is no regular file", "write it to a file first")
    try:
        open(path, "rb").close()
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None


def container_of(path: Path) -> str:
    """``zip``, ``gz`` or ``csv``, by the first bytes rather than the name."""
    with open(path, "rb") as file:
        start = file.read(4)
    if start.startswith(b"PK\x03\x04") or start.startswith(b"PK\x05\x06"):
        return "zip"
    return "gz" if start.startswith(b"\x1f\x8b") else "csv"


@contextmanager
def open_content(path: Path, container: str) -> Iterator[IO[bytes]]:
    """The CSV in ``path`` as a binary stream.

    Raises:
        BrokenFile: not readable: an archive of several files, encrypted, cut off or damaged; while opening or while reading.
    """
    with ExitStack() as stack:
        if container == "csv":
            yield stack.enter_context(open(path, "rb"))
            return
        with _damage_of(container):
            if container == "zip":
                archive = stack.enter_context(zipfile.ZipFile(path))
                member: IO[bytes] = stack.enter_context(archive.open(_only_member(archive)))
            else:
                member = stack.enter_context(gzip.open(path, "rb"))  # type: ignore[arg-type]
        yield _Unpacked(member, container)  # type: ignore[misc]


class _Unpacked(io.RawIOBase):
    """A stream out of an archive; whatever its reading raises is damage."""

    def __init__(self, member: IO[bytes], container: str) -> None:
        self._member, self._container = member, container

    def read(self, size: int = -1) -> bytes:
        with _damage_of(self._container):
            return self._member.read(size)


@contextmanager
def _damage_of(container: str) -> Iterator[None]:
    try:
        yield
    except BrokenFile:
        raise
    # zipfile, gzip and the decompressors below them raise a dozen unrelated types for broken bytes
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise BrokenFile("container", f"the {container} archive is damaged or cut off ({reason})") from None


def _only_member(archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    names = {member.filename for member in archive.infolist()}
    if "[Content_Types].xml" in names:
        raise BrokenFile("container", "this is an office document (xlsx), not a CSV: save the sheet as CSV (UTF-8)")
    members = [
        member for member in archive.infolist() if not member.is_dir() and not member.filename.startswith("__MACOSX/")
    ]
    if len(members) != 1:
        raise BrokenFile("container", f"the zip must hold exactly one file, not {len(members)}")
    if members[0].flag_bits & 1:
        raise BrokenFile("container", "the zip is encrypted: the service cannot open it")
    return members[0]


def check_encoding(start: bytes) -> None:
    """Refuse what is no text in UTF-8 from the first bytes on.

    Args:
        start: the first bytes of the content, 64 or more where there are as many.

    Raises:
        BrokenFile: UTF-16 or UTF-32, a Git LFS pointer, HTML, a known binary format.
    """
    if start[:2] in (b"\xff\xfe", b"\xfe\xff") or (
        b"\0" in start[:8] and start[:8].count(b"\0") * 2 >= len(start[:8]) - 1
    ):
        raise BrokenFile("encoding", "the file is UTF-16 or UTF-32, not UTF-8: save it again as UTF-8 without a mark")
    if start.startswith(b"version https://git-lfs"):
        raise BrokenFile("container", "this is a Git LFS pointer, not the file itself: git lfs pull fetches it")
    if start.lstrip()[:9].lower() in (b"<!doctype", b"<html>") or start.lstrip()[:5].lower() == b"<html":
        raise BrokenFile("container", "this is an HTML page, not a CSV: a download went wrong")
    for magic, name in ((b"PAR1", "Parquet"), (b"\x93NUMPY", "NumPy"), (b"\x80\x04", "pickle"), (b"7z\xbc\xaf", "7z")):
        if start.startswith(magic):
            raise BrokenFile("container", f"this is a {name} file, not a CSV")
