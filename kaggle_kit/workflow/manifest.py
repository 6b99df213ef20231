"""``fetch.json``: which files of a competition were fetched, from where, when, and what was in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kaggle_kit.errors import DataError
from kaggle_kit.files import read_json, sha256_of, write_json

SCHEMA = 1


@dataclass(frozen=True)
class Entry:
    """One file.

    Attributes:
        path: where it lies, relative to the data folder where possible.
        size: bytes.
        mtime_ns: modification time; a file of the same size and time is not hashed again.
        sha256: hash of the content.
        source: what it came from: the service's name, a folder, a zip, or "found".
        time: when, ISO in UTC.
    """

    path: str
    size: int
    mtime_ns: int
    sha256: str
    source: str
    time: str


@dataclass
class Manifest:
    """The manifest of one competition below ``data_dir``; ``save`` writes it atomically.

    Attributes:
        files: entries by the competition's names of the files.
        archive: size and hash of the zip of everything that was downloaded; empty before.
        everything: the zip was unpacked to its end.
    """

    data_dir: Path
    slug: str
    files: dict[str, Entry] = field(default_factory=dict)
    archive: dict[str, Any] = field(default_factory=dict)
    everything: bool = False

    @property
    def path(self) -> Path:
        """Where the manifest lies."""
        return self.data_dir / self.slug / "fetch.json"

    @classmethod
    def load(cls, data_dir: Path, slug: str) -> Manifest:
        """The manifest on disk; an empty one when there is none.

        Raises:
            DataError: it cannot be read, or a newer version of the package wrote it.
        """
        manifest = cls(data_dir, slug)
        if not manifest.path.exists():
            return manifest
        document = read_json(manifest.path)
        try:
            if document["schema"] > SCHEMA:
                raise DataError(
                    f"{manifest.path} has schema {document['schema']}; this version knows {SCHEMA}", "update kaggle_kit"
                )
            manifest.files = {name: Entry(**entry) for name, entry in document["files"].items()}
            manifest.archive, manifest.everything = document["archive"], document["everything"]
        except (KeyError, TypeError, AttributeError):
            raise DataError(f"{manifest.path} is not a manifest", "move it away and fetch again") from None
        return manifest

    def save(self) -> None:
        """Write it."""
        files = {name: asdict(entry) for name, entry in self.files.items()}
        document = {"schema": SCHEMA, "competition": self.slug, "archive": self.archive, "everything": self.everything}
        write_json(self.path, {**document, "files": files})

    def add(self, name: str, path: Path, sha256: str, source: str) -> Entry:
        """Enter the file ``name`` that lies at ``path``."""
        status = path.stat()
        time = datetime.now(UTC).isoformat(timespec="seconds")
        entry = Entry(self._shown(path), status.st_size, status.st_mtime_ns, sha256, source, time)
        self.files[name] = entry
        return entry

    def place(self, entry: Entry) -> Path:
        """Where an entry's file lies."""
        return self.data_dir / entry.path

    def is_unchanged(self, entry: Entry, path: Path) -> bool:
        """Whether ``path`` still holds what the entry says; hashed only when its size is right and its time is not."""
        status = path.stat()
        if status.st_size != entry.size:
            return False
        return status.st_mtime_ns == entry.mtime_ns or sha256_of(path) == entry.sha256

    def missing(self) -> Iterator[str]:
        """Names of files that are entered but no longer there."""
        return (name for name, entry in self.files.items() if not self.place(entry).is_file())

    def _shown(self, path: Path) -> str:
        path = path.absolute()
        root = self.data_dir.absolute()
        return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
