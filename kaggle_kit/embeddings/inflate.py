"""One member of a zip file as a stream of bytes, inflated by zlib-ng where it is installed and by zlib otherwise.

zlib-ng inflates a one-hot label matrix about seven times as fast as zlib and gives the very same bytes. Both release
the interpreter's lock while they work, so that two members can be read side by side.
"""

from __future__ import annotations

import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import IO, Any

from kaggle_kit.errors import DataError

ENGINE: ModuleType | Any = zlib
try:
    from zlib_ng import zlib_ng

    ENGINE = zlib_ng
except ImportError:  # the same bytes, only slower
    pass

INPUT_BYTES = 1 << 18
LOCAL_HEADER_BYTES = 30
ENCRYPTED = 0x1

REFETCH = "the file was damaged on its way or on the disk: delete it and run kk fetch again"


class MemberStream:
    """The content of one zip member, read once from front to back and checked against its length and CRC.

    Args:
        path: the zip file; each stream opens it for itself, so streams may be read on different threads.
        info: the member, as the zip's directory describes it.
        engine: ``zlib`` or a module of the same interface.

    Raises:
        DataError: encrypted, compressed by something other than deflate, or damaged.
    """

    def __init__(self, path: Path, info: zipfile.ZipInfo, *, engine: Any = None) -> None:
        self.path = path
        self.info = info
        self._engine = engine or ENGINE
        self._inflater = self._choose_inflater()
        self._file: IO[bytes] = open(path, "rb")  # noqa: SIM115 (closed by close)
        self._input_left = info.compress_size
        self._tail = b""
        self._crc = 0
        self.produced = 0
        try:
            self._seek_to_content()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> MemberStream:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; a stream that was not read to its end is not checked."""
        self._file.close()

    @property
    def consumed(self) -> int:
        """Bytes of the file read so far."""
        return self.info.compress_size - self._input_left

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes, fewer only at the member's end, where length and CRC are checked.

        Raises:
            DataError: the member is cut short, damaged or longer than declared.
        """
        wanted = min(size, self.info.file_size - self.produced)
        parts: list[bytes] = []
        while wanted > 0:
            part = self._next_part(wanted)
            if not part:
                raise self._damage(f"ends after {self.produced:,} of {self.info.file_size:,} bytes")
            self._crc = self._engine.crc32(part, self._crc)
            self.produced += len(part)
            wanted -= len(part)
            parts.append(part)
        if parts and self.produced == self.info.file_size:
            self._check_end()
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _choose_inflater(self) -> Any:
        if self.info.flag_bits & ENCRYPTED:
            raise DataError(f"{self.path}: {self.info.filename} is encrypted", "write the npz without a password")
        if self.info.compress_type == zipfile.ZIP_STORED:
            return None
        if self.info.compress_type == zipfile.ZIP_DEFLATED:
            return self._engine.decompressobj(-zlib.MAX_WBITS)
        method = zipfile.compressor_names.get(self.info.compress_type, str(self.info.compress_type))  # type: ignore[attr-defined]
        raise DataError(
            f"{self.path}: {self.info.filename} is compressed with {method}, not with deflate",
            "write the file with np.savez or np.savez_compressed",
        )

    def _seek_to_content(self) -> None:
        """Skip the local header, whose extra field may differ in length from the directory's."""
        header = b""
        with suppress(ValueError, OSError):  # an offset before the file's start
            self._file.seek(self.info.header_offset)
            header = self._file.read(LOCAL_HEADER_BYTES)
        if len(header) < LOCAL_HEADER_BYTES or header[:4] != b"PK\x03\x04":
            raise self._damage("has no header where the directory says that it starts")
        name_length = int.from_bytes(header[26:28], "little")
        extra_length = int.from_bytes(header[28:30], "little")
        self._file.seek(name_length + extra_length, 1)

    def _next_part(self, wanted: int) -> bytes:
        if self._inflater is None:
            return self._next_input(wanted)
        while True:
            compressed = self._tail or self._next_input(INPUT_BYTES)
            try:
                part = self._inflater.decompress(compressed, wanted)
            except self._engine.error as error:
                raise self._damage(f"cannot be inflated ({error})") from None
            self._tail = self._inflater.unconsumed_tail
            if part or not compressed or self._inflater.eof:
                return bytes(part)

    def _next_input(self, size: int) -> bytes:
        data = self._file.read(min(size, self._input_left))
        self._input_left -= len(data)
        return data

    def _check_end(self) -> None:
        if self._inflater is not None and not self._inflater.eof and self._next_part(1):
            raise self._damage(f"is longer than the {self.info.file_size:,} bytes declared")
        if self._crc != self.info.CRC:
            raise self._damage(f"has checksum {self._crc:08x}, not the {self.info.CRC:08x} it was written with")

    def _damage(self, what: str) -> DataError:
        return DataError(f"{self.path} is damaged: its member {self.info.filename} {what}", REFETCH)
