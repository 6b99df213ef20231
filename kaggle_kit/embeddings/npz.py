"""Arrays out of an npz file without NumPy's loader: nothing is unpickled, large members come in blocks.

``np.load`` would hold a whole member at once, the 3.1 GB label matrix too. Here a member is described first
(:meth:`NpzFile.header`) and then read whole (:meth:`NpzFile.read`) or block by block (:meth:`NpzFile.blocks`), each
block checked as it comes.
"""

from __future__ import annotations

import ast
import difflib
import math
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kaggle_kit.embeddings.inflate import REFETCH, MemberStream
from kaggle_kit.errors import DataError, MissingError

NPY_MAGIC = b"\x93NUMPY"
MAX_HEADER_BYTES = 10_000  # NumPy's own bound for headers that it parses with literal_eval
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class ArrayHeader:
    """What the head of a ``.npy`` member says about the array behind it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    length: int

    @property
    def nbytes(self) -> int:
        """Bytes of the array, header not counted."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


class ForeignArray(DataError):
    """An array that is whole, but of Python objects or records: none that this reader reads."""


class NpzFile:
    """The directory of an npz file; every read opens the file anew, so that threads do not disturb each other.

    Args:
        path: the file.
        watch: called with the number of compressed bytes read, after each block.

    Raises:
        MissingError: there is no such file.
        DataError: it is not a zip file (a Git LFS pointer, an HTML page, cut short, …).
    """

    def __init__(self, path: Path, *, watch: Callable[[int], None] = lambda count: None) -> None:
        self.path = Path(path)
        self._watch = watch
        self._members = {info.filename.removesuffix(".npy"): info for info in read_directory(self.path)}
        self._headers: dict[str, ArrayHeader] = {}

    @property
    def keys(self) -> list[str]:
        """Names of the arrays, in the file's order."""
        return list(self._members)

    def __contains__(self, key: str) -> bool:
        return key in self._members

    def header(self, key: str) -> ArrayHeader:
        """Shape and type of the array ``key``, after reading a few bytes the first time.

        Who reads arrays on several threads asks for their headers before: CPython 3.11 now and then fails ("AST constructor recursion
        depth mismatch") where two threads parse at once.

        Raises:
            ForeignArray: Python objects or records inside.
            DataError: no such array, not a ``.npy`` member, or a size that cannot be right.
        """
        if key in self._headers:
            return self._headers[key]
        info = self._member(key)
        with MemberStream(self.path, info) as stream:
            header = self._parse_header(stream, key)
        if header.nbytes + header.length != info.file_size:
            raise DataError(
                f"{self.path}: {key} declares {header} ({header.nbytes:,} bytes) but holds {info.file_size - header.length:,}",
                REFETCH,
            )
        self._headers[key] = header
        return header

    def blocks(self, key: str, *, multiple_of: int = 1, block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
        """The bytes of the array ``key`` in order; every block but the last is as long as the others.

        Args:
            multiple_of: blocks hold a whole number of so many bytes (a row, a machine word).
            block_bytes: about how long a block is to be.
        """
        header = self.header(key)
        size = max(1, block_bytes // multiple_of) * multiple_of
        with MemberStream(self.path, self._member(key)) as stream:
            stream.read(header.length)
            seen = 0
            while block := stream.read(size):
                self._watch(stream.consumed - seen)
                seen = stream.consumed
                yield block

    def read(self, key: str) -> np.ndarray:
        """The whole array ``key``, equal to what ``np.load`` gives, in the machine's byte order.

        Raises:
            DataError: as for :meth:`header`, or the array does not fit into memory.
        """
        header = self.header(key)
        array = _allocate(header, f"{self.path}: {key}")
        flat = array.reshape(-1).view(np.uint8) if header.nbytes else array
        position = 0
        for block in self.blocks(key):
            flat[position : position + len(block)] = np.frombuffer(block, np.uint8)
            position += len(block)
        array = array.reshape(header.shape[::-1]).T if header.fortran_order else array.reshape(header.shape)
        return np.ascontiguousarray(array, dtype=header.dtype.newbyteorder("=")).reshape(header.shape)

    def _member(self, key: str) -> zipfile.ZipInfo:
        if key in self._members:
            return self._members[key]
        near = difflib.get_close_matches(key, self._members, 1, cutoff=0.5)
        hint = f"did you mean {near[0]}? " if near else ""
        raise DataError(
            f"{self.path} has no array {key!r}; it has {', '.join(self._members) or 'none'}",
            f"{hint}The names of a competition's arrays are set in its description ([competition.train_keys], [competition.test_keys])",
        )

    def _parse_header(self, stream: MemberStream, key: str) -> ArrayHeader:
        magic = stream.read(8)
        if magic[:6] != NPY_MAGIC or len(magic) < 8:
            raise DataError(f"{self.path}: {key} is not a NumPy array", "write the file with np.savez_compressed")
        prefix = 2 if magic[6] == 1 else 4
        size = int.from_bytes(stream.read(prefix), "little")
        if magic[6] not in (1, 2, 3) or size > MAX_HEADER_BYTES:
            raise DataError(f"{self.path}: the header of {key} is not one that NumPy writes", REFETCH)
        text = stream.read(size).decode("utf-8" if magic[6] == 3 else "latin1", errors="replace")
        shape, dtype, fortran_order = self._header_fields(text, key)
        return ArrayHeader(shape, dtype, fortran_order, 8 + prefix + size)

    def _header_fields(self, text: str, key: str) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
        try:
            fields = ast.literal_eval(text.strip())
            dtype = np.lib.format.descr_to_dtype(fields["descr"])
            shape, fortran_order = fields["shape"], fields["fortran_order"]
            plain = isinstance(shape, tuple) and all(isinstance(n, int) and n >= 0 for n in shape)
        except (SyntaxError, ValueError, TypeError, KeyError, MemoryError, RecursionError):
            plain = False
        if not plain:
            raise DataError(f"{self.path}: the header of {key} cannot be read: {text.strip()[:120]!r}", REFETCH)
        if dtype.hasobject:
            raise ForeignArray(
                f"{self.path}: {key} holds pickled Python objects, which are never loaded: they may run any code",
                "save it as numbers or text instead, for example np.asarray(values, dtype=str)",
            )
        if dtype.names is not None or dtype.subdtype is not None:
            raise ForeignArray(
                f"{self.path}: {key} holds records ({dtype}), not numbers or text", "save each field as its own array"
            )
        return shape, dtype, bool(fortran_order)


def _allocate(header: ArrayHeader, name: str) -> np.ndarray:
    try:
        return np.empty(math.prod(header.shape), header.dtype)
    except MemoryError:
        raise DataError(
            f"{name} ({header}) needs {header.nbytes / 1e9:.1f} GB of memory", "use a machine with more memory"
        ) from None


def read_directory(path: Path) -> list[zipfile.ZipInfo]:
    """The members of a zip file.

    Raises:
        MissingError: there is no such file.
        DataError: it is not a zip file, said with what it is instead.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.infolist()
    except FileNotFoundError:
        raise MissingError(f"no such file: {path}", "kk fetch downloads the competition's files") from None
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, ValueError, OverflowError, struct.error):
        raise _not_a_zip(path) from None
    except IsADirectoryError:
        raise DataError(f"{path} is a folder, not an npz file", "name the file inside it") from None
    except PermissionError:
        raise DataError(f"{path} may not be read: permission denied", "change its permissions") from None


def _not_a_zip(path: Path) -> DataError:
    """Say what a file is that should be an npz, judged by its first bytes."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        head = file.read(512)
    start = head.lstrip().lower()
    if not head:
        return DataError(f"{path} is empty", REFETCH)
    if head.startswith(b"version https://git-lfs"):
        return DataError(
            f"{path} is a Git LFS pointer of {size} bytes, not the file itself", "run git lfs pull, or kk fetch"
        )
    if start.startswith((b"<!doctype", b"<html", b"<?xml")):
        return DataError(
            f"{path} is an HTML page of {size:,} bytes, not an npz file (an error or login page saved under that name)",
            "delete it and run kk fetch",
        )
    if head.startswith(b"PK"):
        return DataError(
            f"{path} is cut short: {size:,} bytes, and the zip directory at its end is missing or damaged", REFETCH
        )
    if head.startswith(NPY_MAGIC):
        return DataError(f"{path} is a single .npy array, not an npz file", "save the arrays with np.savez_compressed")
    if head.startswith(b"\x80"):
        return DataError(
            f"{path} is a pickle, which is never loaded: it may run any code",
            "save the arrays with np.savez_compressed",
        )
    return DataError(f"{path} is not an npz (zip) file: it starts with {head[:16]!r}", REFETCH)
