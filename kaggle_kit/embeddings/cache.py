"""A cache of read training files: checked arrays on disk, mapped into memory, so that a later load takes a fraction
of a second.

An entry is a folder of ``.npy`` files and an ``entry.json`` with their sizes and checksums; its name is a hash of the
source's SHA-256 and of the names of its arrays. An entry that is stale is never found, one that is damaged is built
again. Whatever prevents caching (a full disk, a read-only folder) only costs the
cache: the file is then read into memory.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from kaggle_kit.competition import TrainKeys
from kaggle_kit.embeddings.inflate import ENGINE
from kaggle_kit.embeddings.load import ARRAYS, TRAIN_KEYS, pairs_in, read_pairs
from kaggle_kit.embeddings.pairs import DataFile, Pairs
from kaggle_kit.embeddings.store import FolderStore
from kaggle_kit.errors import DiskFullError, KaggleKitError, UsageError
from kaggle_kit.files import hash_of, home_folder, read_json, sha256_of, write_json
from kaggle_kit.notebook import in_notebook, notebook_folders
from kaggle_kit.progress import SILENCE, Progress

SCHEMA = 1
GIGABYTE = 10**9
CACHE_GB = 20.0
WAIT_S = 300.0
SMALLEST_BYTES = 16 << 20
BLOCK_BYTES = 1 << 20


@dataclass(frozen=True)
class CacheEntry:
    """One cached file.

    Attributes:
        key: name of its folder.
        source: the file as it was called when it was read.
        size: bytes on disk.
        created: when it was built, seconds since 1970.
        used: when it was last loaded, seconds since 1970.
    """

    key: str
    source: Path
    size: int
    created: float
    used: float


def load_pairs(
    path: Path | str,
    keys: TrainKeys = TRAIN_KEYS,
    *,
    cache_gb: float = CACHE_GB,
    cache_wait_s: float = WAIT_S,
    cache_from_bytes: int = SMALLEST_BYTES,
    environ: Mapping[str, str] = os.environ,
    progress: Progress = SILENCE,
) -> Pairs:
    """The training data: captions, images and which belongs to which.

    The first load reads and checks the npz; later ones map the arrays from the cache.

    Args:
        path: the npz file.
        keys: names of the arrays in it.
        cache_gb: gigabytes that the cache may take; 0: no cache.
        cache_wait_s: seconds to wait for another process that is just reading the same file.
        cache_from_bytes: smaller files are not worth caching.
        environ: ``KK_CACHE_DIR`` and ``XDG_CACHE_HOME`` move the cache.
        progress: is told of the reading, and why the cache was not used.

    Returns:
        The pairs; large arrays may be mapped copy-on-write.

    Raises:
        MissingError: no such file.
        DataError: what is wrong, with the rows.
    """
    path = Path(path)
    if not cache_gb or not path.is_file() or path.stat().st_size < cache_from_bytes:
        return read_pairs(path, keys, progress=progress)
    cache = _Cache(cache_folder(environ), cache_gb * GIGABYTE, cache_wait_s, progress)
    try:
        return cache.load(path, keys)
    except (OSError, DiskFullError, UsageError, _NoCacheError) as error:
        progress.note(f"reading {path.name} without the cache in {cache.folder}: {error}")
        return read_pairs(path, keys, progress=progress)


def cache_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the cache lies: ``KK_CACHE_DIR``; scratch in a notebook; else the user's cache folder."""
    if environ.get("KK_CACHE_DIR"):
        return Path(environ["KK_CACHE_DIR"]).expanduser()
    if in_notebook(environ):
        return notebook_folders(environ).temp / "kaggle_kit"
    if environ.get("XDG_CACHE_HOME"):
        return Path(environ["XDG_CACHE_HOME"]) / "kaggle_kit"
    home = Path(environ["HOME"]) if environ.get("HOME") else home_folder()
    return home / ".cache" / "kaggle_kit"


def list_cache(environ: Mapping[str, str] = os.environ) -> list[CacheEntry]:
    """What the cache holds, last used first."""
    return _entries(cache_folder(environ))


def clear_cache(environ: Mapping[str, str] = os.environ, *, keys: list[str] | None = None) -> int:
    """Remove the entries ``keys`` (all when None) and what is remembered of files; the bytes set free.

    Raises:
        UsageError: the cache folder may not be written to.
    """
    folder = cache_folder(environ)
    chosen = [entry for entry in _entries(folder) if keys is None or entry.key in keys]
    for place in [folder / "pairs" / entry.key for entry in chosen]:
        _remove(place)
    if keys is None:
        for part in ("pairs", "known"):
            _remove(folder / part)
    return sum(entry.size for entry in chosen)


def _remove(place: Path) -> None:
    shutil.rmtree(place, ignore_errors=True)
    if place.exists():
        raise UsageError(f"{place} could not be removed", "remove it by hand, or look at its permissions")


class _NoCacheError(Exception):
    """Why the cache cannot be used."""


class _Cache:
    def __init__(self, folder: Path, limit: float, wait_s: float, progress: Progress) -> None:
        self.folder = folder
        self._limit = limit
        self._wait_s = wait_s
        self._progress = progress

    def load(self, path: Path, keys: TrainKeys) -> Pairs:
        """The pairs of ``path``, from its entry, which is built when it is not there or not whole."""
        found = self._find(path, keys)
        if found is not None:
            return found
        with self._locked(_identity(path)):
            return self._find(path, keys) or self._find_by_content(path, keys) or self._build(path, keys)

    def _find(self, path: Path, keys: TrainKeys) -> Pairs | None:
        """The entry of a file that was seen before and has not changed since."""
        sha256 = self._known_sha256(path)
        return self._open(path, sha256, keys) if sha256 else None

    def _find_by_content(self, path: Path, keys: TrainKeys) -> Pairs | None:
        """The entry of a file of the same content: one that was copied, moved or touched."""
        size = path.stat().st_size
        if not any(entry.get("source", {}).get("size") == size for _, entry in _records(self.folder)):
            return None
        sha256 = sha256_of(path)
        self._remember(path, sha256)
        return self._open(path, sha256, keys)

    def _open(self, path: Path, sha256: str, keys: TrainKeys) -> Pairs | None:
        folder = self.folder / "pairs" / _key(sha256, keys)
        if not folder.is_dir():
            return None
        if not is_whole(folder):
            self._progress.note(f"the cached copy of {path.name} is damaged; reading the file again")
            return None
        with suppress(OSError):
            os.utime(folder / "entry.json")  # last used: what was not used for longest is removed first
        return pairs_in(FolderStore(folder), DataFile(path, path.stat().st_size, sha256))

    def _build(self, path: Path, keys: TrainKeys) -> Pairs:
        unfinished = self.folder / "pairs" / f".{_identity(path)}"
        shutil.rmtree(
            unfinished, ignore_errors=True
        )  # left by a process that was killed: the lock says that none is at work
        self._check_space(path)
        unfinished.mkdir(parents=True)
        try:
            store = FolderStore(unfinished)
            file = read_pairs(path, keys, store=store, progress=self._progress).file
            sizes = {name: store.path(name).stat().st_size for name in ARRAYS}
            self._check_limit(sum(sizes.values()))
            record = {
                "schema": SCHEMA,
                "source": {"path": str(path.resolve()), "size": file.size, "sha256": file.sha256},
                "keys": asdict(keys),
                "arrays": {name: {"size": sizes[name], "crc32": store.checksums[name]} for name in ARRAYS},
                "created": time.time(),
            }
            write_json(unfinished / "entry.json", record)
            target = self.folder / "pairs" / _key(file.sha256, keys)
            shutil.rmtree(target, ignore_errors=True)
            os.rename(unfinished, target)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        self._remember(path, file.sha256)
        self._make_room(target.name)
        return pairs_in(FolderStore(target), file)

    def _check_space(self, path: Path) -> None:
        # The arrays take about as much as the file, for embeddings hardly shrink; text is the rest.
        self.folder.mkdir(parents=True, exist_ok=True)
        needed = 1.5 * path.stat().st_size
        self._check_limit(path.stat().st_size)
        if shutil.disk_usage(self.folder).free < needed:
            raise _NoCacheError(f"{needed / GIGABYTE:.1f} GB are needed on its disk")

    def _check_limit(self, size: float) -> None:
        if size > self._limit:
            raise _NoCacheError(f"{size / GIGABYTE:.2g} GB are needed, {self._limit / GIGABYTE:.2g} GB are allowed")

    def _make_room(self, newest: str) -> None:
        """Remove the entries that were not used for longest until the rest is within the limit."""
        total = 0
        for entry in _entries(self.folder):
            total += entry.size
            if total > self._limit and entry.key != newest:
                shutil.rmtree(self.folder / "pairs" / entry.key, ignore_errors=True)
                self._progress.note(f"removed {entry.source.name} ({entry.size / GIGABYTE:.2g} GB) from the cache")

    def _known_sha256(self, path: Path) -> str | None:
        """The SHA-256 of a file as remembered, if the file has not changed since."""
        with suppress(KaggleKitError, OSError, KeyError, TypeError):
            record = read_json(self._known(path))
            if record["file"] == _fingerprint(path):
                return str(record["sha256"])
        return None

    def _remember(self, path: Path, sha256: str) -> None:
        write_json(self._known(path), {"path": str(path.resolve()), "file": _fingerprint(path), "sha256": sha256})

    def _known(self, path: Path) -> Path:
        return self.folder / "known" / f"{_identity(path)}.json"

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        folder = self.folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self._progress.note("another process is reading the same file; waiting for it")
            try:
                lock.acquire(timeout=self._wait_s)
            except Timeout:
                raise _NoCacheError(f"another process has held it for {self._wait_s:.0f} s") from None
        try:
            yield
        finally:
            lock.release()


def is_whole(folder: Path) -> bool:
    """Whether an entry's files have the sizes and checksums that they were written with."""
    try:
        record = read_json(folder / "entry.json")
        return record["schema"] == SCHEMA and all(
            (folder / f"{name}.npy").stat().st_size == record["arrays"][name]["size"]
            and _crc32(folder / f"{name}.npy") == record["arrays"][name]["crc32"]
            for name in ARRAYS
        )
    except (KaggleKitError, OSError, KeyError, TypeError):
        return False


def _crc32(path: Path) -> int:
    crc = 0
    buffer = bytearray(BLOCK_BYTES)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            crc = ENGINE.crc32(view[:count], crc)
    return crc


def _entries(folder: Path) -> list[CacheEntry]:
    found = [
        CacheEntry(
            key=place.name,
            source=_source_of(record),
            size=sum(file.stat().st_size for file in place.iterdir()),
            created=record["created"] if isinstance(record.get("created"), int | float) else 0.0,
            used=(place / "entry.json").stat().st_mtime if (place / "entry.json").exists() else 0.0,
        )
        for place, record in _records(folder)
    ]
    return sorted(found, key=lambda entry: -entry.used)


def _source_of(record: Mapping[str, Any]) -> Path:
    source = record.get("source")
    path = source.get("path") if isinstance(source, dict) else None
    return Path(path if isinstance(path, str) else "unknown")


def _records(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each entry's folder and record; an empty record where it cannot be read."""
    parent = folder / "pairs"
    for place in sorted(parent.iterdir()) if parent.is_dir() else ():
        if place.is_dir() and not place.name.startswith("."):
            try:
                record = read_json(place / "entry.json")
            except (KaggleKitError, OSError):
                record = {}
            yield place, record if isinstance(record, dict) else {}


def _key(sha256: str, keys: TrainKeys) -> str:
    return hash_of({"schema": SCHEMA, "sha256": sha256, "keys": asdict(keys)})[:32]


def _identity(path: Path) -> str:
    return hash_of(str(path.resolve()))[:32]


def _fingerprint(path: Path) -> dict[str, int]:
    """What changes when a file is replaced or written to."""
    status = path.stat()
    return {"size": status.st_size, "mtime_ns": status.st_mtime_ns, "inode": status.st_ino}
