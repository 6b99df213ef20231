"""Where the rows of a large array go while they are read: into memory, or into a ``.npy`` file to be mapped."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from kaggle_kit.embeddings.inflate import ENGINE
from kaggle_kit.errors import DataError


class RowSink(Protocol):
    """Takes the rows of one array in order."""

    def write(self, rows: np.ndarray) -> None:
        """Append rows."""

    def close(self) -> None:
        """No more rows will come."""


class Store(Protocol):
    """Holds the arrays of one data file under short names."""

    def create(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> RowSink:
        """An array to be filled row by row."""

    def put(self, name: str, array: np.ndarray) -> None:
        """A whole array."""

    def get(self, name: str) -> np.ndarray:
        """The array called ``name``."""


class MemoryStore:
    """Arrays in memory."""

    def __init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def create(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> RowSink:
        """An array to be filled row by row.

        Raises:
            DataError: it does not fit into memory.
        """
        try:
            self._arrays[name] = np.empty(shape, dtype)
        except MemoryError:
            raise DataError(f"{name} {shape} does not fit into memory", "use a machine with more memory") from None
        return _MemorySink(self._arrays[name])

    def put(self, name: str, array: np.ndarray) -> None:
        """A whole array."""
        self._arrays[name] = array

    def get(self, name: str) -> np.ndarray:
        """The array called ``name``."""
        return self._arrays[name]


class _MemorySink:
    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self._next = 0

    def write(self, rows: np.ndarray) -> None:
        self._array[self._next : self._next + len(rows)] = rows
        self._next += len(rows)

    def close(self) -> None:
        pass


class FolderStore:
    """Arrays as ``.npy`` files in a folder, mapped into memory when asked for.

    Mapped copy-on-write: pages come from the file as they are touched, and whoever writes to such an array changes
    his own copy only.

    Attributes:
        folder: where the files lie.
        checksums: CRC-32 of each file written by this object.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checksums: dict[str, int] = {}

    def create(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> RowSink:
        """An array to be filled row by row."""
        return _FileSink(self, name, npy_header(shape, dtype))

    def put(self, name: str, array: np.ndarray) -> None:
        """A whole array."""
        sink = self.create(name, array.shape, array.dtype)
        sink.write(array)
        sink.close()

    def get(self, name: str) -> np.ndarray:
        """The array called ``name``, mapped."""
        return np.load(self.path(name), mmap_mode="c", allow_pickle=False).view(np.ndarray)

    def path(self, name: str) -> Path:
        """The file of the array called ``name``."""
        return self.folder / f"{name}.npy"


class _FileSink:
    def __init__(self, store: FolderStore, name: str, header: bytes) -> None:
        self._store = store
        self._name = name
        self._file: IO[bytes] = open(store.path(name), "xb")  # noqa: SIM115 (closed by close)
        self._crc = ENGINE.crc32(header)
        self._file.write(header)

    def write(self, rows: np.ndarray) -> None:
        content = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
        self._crc = ENGINE.crc32(content, self._crc)
        self._file.write(content)

    def close(self) -> None:
        self._store.checksums[self._name] = self._crc
        self._file.close()


def npy_header(shape: tuple[int, ...], dtype: np.dtype[Any]) -> bytes:
    """The head of a ``.npy`` file of a C-ordered array."""
    head = io.BytesIO()
    fields = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(head, fields)
    return head.getvalue()
