"""Files that are whole or not there: atomic writes, JSON, hashes."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import orjson

from kaggle_kit.errors import DataError, MissingError, storage_errors

BLOCK_BYTES = 1 << 20

ANYONE, OWNER_ONLY = 0o666, 0o644
"""Modes of new files, from which the user's umask takes away: as the umask says; in no case writable by the group."""


NOWHERE = Path("/nonexistent")
"""The home of those who have none, by the name that systems give it."""


def home_folder() -> Path:
    """The user's home; :data:`NOWHERE` for a user that neither ``HOME`` nor the system's list of users gives one, as in containers."""
    try:
        return Path.home()
    except RuntimeError:
        return NOWHERE


@contextmanager
def atomic_writer(path: Path, *, mode: int = ANYONE) -> Iterator[IO[bytes]]:
    """A binary file that becomes ``path`` when the block ends well, and never exists in part.

    Written beside the target with the user's umask, flushed to the disk, then renamed. When the block raises, the target keeps its former
    content and the temporary file is removed.

    Raises:
        DiskFullError: no space left.
        UsageError: the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    with storage_errors(path, "writing"):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, mode)) as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable; file systems that cannot sync a folder are left alone."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def write_bytes(path: Path, content: bytes, *, mode: int = ANYONE) -> None:
    """Write ``content`` to ``path`` atomically."""
    with atomic_writer(path, mode=mode) as file:
        file.write(content)


class _Blocks:
    """All that ``np.save`` sees of a file."""

    def __init__(self, file: IO[bytes]) -> None:
        self.write = file.write


def write_npy(path: Path, array: Any) -> None:
    """Write a NumPy array to ``path`` atomically.

    Into an open file ``np.save`` writes by way of the C library, and does not notice when the disk is full: the array
    would be cut short without a word.
    """
    import numpy as np

    with atomic_writer(path) as file:
        np.save(_Blocks(file), array, allow_pickle=False)  # type: ignore[arg-type]


def to_json(value: Any) -> bytes:
    """``value`` as indented JSON with sorted keys and a final newline; NumPy scalars are understood."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    return orjson.dumps(value, option=options, default=str)


def write_json(path: Path, value: Any, *, mode: int = ANYONE) -> None:
    """Write ``value`` to ``path`` atomically as JSON."""
    write_bytes(path, to_json(value), mode=mode)


def read_json(path: Path) -> Any:
    """The JSON document in ``path``.

    Raises:
        MissingError: there is no such file.
        DataError: the file is not JSON, or cannot be read.
    """
    try:
        return orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise MissingError(f"no such file: {path}") from None
    except orjson.JSONDecodeError as error:
        raise DataError(f"{path} is not valid JSON: {error}", "restore the file or move it away") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", "restore the file or move it away") from None


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_of(value: Any) -> str:
    """The SHA-256 of ``value``'s canonical JSON: equal settings have equal hashes, whatever their order."""
    options = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY
    return hashlib.sha256(orjson.dumps(value, option=options, default=str)).hexdigest()
