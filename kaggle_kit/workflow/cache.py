"""Look at the cache of read training files, and clear it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kaggle_kit import embeddings
from kaggle_kit.config import Project
from kaggle_kit.embeddings import CacheEntry


@dataclass(frozen=True)
class Cache:
    """The cache of read training files.

    Attributes:
        folder: where it lies.
        entries: what it holds, last used first.
        limit: bytes that it may take (``data.cache_gb``).
        freed: bytes that were just set free.
    """

    folder: Path
    entries: list[CacheEntry]
    limit: float
    freed: int = 0

    @property
    def size(self) -> int:
        """Bytes that it takes."""
        return sum(entry.size for entry in self.entries)

    def to_dict(self) -> dict[str, Any]:
        """As plain data; times are ISO in UTC."""
        return {
            "folder": str(self.folder),
            "size": self.size,
            "limit": self.limit,
            "freed": self.freed,
            "entries": [
                {
                    "key": entry.key,
                    "source": str(entry.source),
                    "size": entry.size,
                    "created": _moment(entry.created),
                    "used": _moment(entry.used),
                }
                for entry in self.entries
            ],
        }


def cached_files(project: Project) -> Cache:
    """What the cache of read training files holds."""
    return Cache(embeddings.cache_folder(), embeddings.list_cache(), project.settings.data.cache_gb * 1e9)


def clear_cache(project: Project) -> Cache:
    """Empty the cache; the next load of each file takes as long as its first.

    Raises:
        UsageError: the folder may not be written to.
    """
    freed = embeddings.clear_cache()
    return Cache(embeddings.cache_folder(), embeddings.list_cache(), project.settings.data.cache_gb * 1e9, freed)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
